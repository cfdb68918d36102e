"""The page's files: what a browser would refuse under the policy, and what an eye could not read."""

import re
from pathlib import Path

import pytest

from service.api import overlays
from service.domain.heatmaps import FULL_SCALE

WEB = Path(__file__).parents[2] / "service" / "web"
SCRIPTS = sorted(WEB.glob("*.js"))
STYLES = sorted(WEB.glob("*.css"))
LABELS = ("polyp", "bleeding", "inflammatory", "content", "other")
TEXT_TOKENS = ("ink", "quiet", "accent", "good", "warn", "bad", *LABELS)


def _tokens(theme: str) -> dict[str, str]:
    """Colours of a theme: the light block says only what differs from the dark one."""
    css = (WEB / "tokens.css").read_text()
    blocks = re.findall(r"(:root[^{]*)\{([^}]*)\}", css)
    wanted = [body for head, body in blocks if theme == "light" or "light" not in head]
    return {name: value for body in wanted for name, value in re.findall(r"--([\w-]+): (#[0-9a-f]{6})", body)}


def _luminance(colour: str) -> float:
    """WCAG 2.2 relative luminance."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_of_black_and_white_is_21() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("ground", ["ground", "panel"])
def test_text_colours_have_contrast(theme: str, ground: str) -> None:
    tokens = _tokens(theme)
    found = {name: _contrast(tokens[name], tokens[ground]) for name in TEXT_TOKENS}
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_on_the_primary_button_has_contrast(theme: str) -> None:
    tokens = _tokens(theme)
    assert _contrast(tokens["on-accent"], tokens["accent"]) >= 4.5


def test_themes_differ_and_are_whole() -> None:
    dark, light = _tokens("dark"), _tokens("light")
    assert dark.keys() == light.keys()
    assert all(dark[name] != light[name] for name in dark)


def test_every_custom_property_is_defined() -> None:
    css = "".join(path.read_text() for path in STYLES)
    set_by_scripts = {"value", "threshold", "floor"}
    assert set(re.findall(r"var\(--([\w-]+)", css)) <= set(re.findall(r"--([\w-]+):", css)) | set_by_scripts


@pytest.mark.parametrize("path", [*SCRIPTS, *STYLES, WEB / "index.html"], ids=lambda path: path.name)
def test_no_file_names_another_host(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"""(https?:)?//[\w-]+\.\w""", re.sub(r"^\s*//.*", "", text, flags=re.M))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_parses_html_or_code(path: Path) -> None:
    forbidden = (
        r"(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|Attribute\(\"style"
    )
    assert not re.search(forbidden, path.read_text())


def test_html_holds_no_inline_script_or_style() -> None:
    html = (WEB / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]*\ssrc=)", html)


def test_ids_in_html_are_unique_and_scripts_ask_for_no_others() -> None:
    html = (WEB / "index.html").read_text()
    ids = re.findall(r'\sid="([\w-]+)"', html)
    assert len(ids) == len(set(ids))
    asked = {name for path in SCRIPTS for name in re.findall(r'byId\("([\w-]+)"\)', path.read_text())}
    assert asked <= set(ids)


def test_imports_and_links_are_relative_and_there() -> None:
    imported = {name for path in SCRIPTS for name in re.findall(r'from "([^"]+)"', path.read_text())}
    assert all(name.startswith("./") for name in imported)
    linked = set(re.findall(r'(?:src|href)="([\w.-]+\.\w+)"', (WEB / "index.html").read_text()))
    assert all((WEB / name).is_file() for name in imported | linked)


def test_research_use_is_written_where_it_is_always_visible() -> None:
    header = re.search(r"<header.*?</header>", (WEB / "index.html").read_text(), re.S)
    assert header is not None
    assert re.search(r"<p class=\"research-use\">Research use\. Not for diagnosis\.</p>", header[0])


def test_page_weighs_less_than_300_kb() -> None:
    assert sum(path.stat().st_size for path in WEB.iterdir()) < 300_000


def test_scale_bar_has_the_ramp_of_the_overlays() -> None:
    css = (WEB / "reading.css").read_text()
    ramp = css.split(".scale-bar::before")[1].split("}")[0]
    stops = re.findall(r"rgb\((\d+) (\d+) (\d+) / (\d+)%\)", ramp)
    assert len(stops) == 6
    for place, (red, green, blue, opacity) in enumerate(stops):
        value = place / 5
        assert overlays._colour(value) == (int(red), int(green), int(blue))
        assert overlays._opacity(value) == round(255 * int(opacity) / 100)


def test_colour_that_the_page_calls_none_is_too_thin_to_be_seen() -> None:
    faint = float(re.findall(r"const FAINT = ([\d.]+);", (WEB / "findings.js").read_text())[0])
    assert 0 < overlays._opacity(faint / FULL_SCALE) <= 0.06 * 255


def test_scale_bar_ends_at_the_full_scale_of_the_overlays() -> None:
    css, page = (WEB / "reading.css").read_text(), (WEB / "index.html").read_text()
    assert re.findall(r"--full-scale: ([\d.]+);", css) == [str(FULL_SCALE)]
    assert f'<span id="scale-words"></span><span id="scale-end">{FULL_SCALE}+</span>' in page

"""The reading screen with made-up answers: marks, maps, keys, filters, hostile names, exports."""

import base64
import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import complaints
from tests.page_site import Site, mark_words, sign_in, text, wait_for, with_person

# One transparent pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = '=<img src=x onerror="document.title=1">,.jpg'
LABELS = ("polyp", "bleeding", "inflammatory", "content")


SPREAD = [[0.03] * 7] * 7
PEAKED = [[0.03] * 7] * 6 + [[0.4] * 7]


def finding(ordinal: int, label: str, probability: float) -> dict[str, Any]:
    positive = probability >= 0.5
    cam = {
        "overlay_url": f"/api/v1/analyses/a/frames/{ordinal}/overlay?label={label}",
        "peak_xy": [50, 50],
        "box_xywh": [40, 40, 20, 20],
        "side": 7,
        "grid": SPREAD if label == "content" else PEAKED,
        "floor": 0.02,
    }
    return {
        "label": label,
        "code": None,
        "probability": probability,
        "positive": positive,
        "threshold": 0.5,
        "evidence": "synthetic",
        "cam": cam if positive else None,
    }


def frame(ordinal: int, name: str, **probabilities: float) -> dict[str, Any]:
    return {
        "ordinal": ordinal,
        "name": name,
        "sha256": f"{ordinal:064x}",
        "size": len(PNG),
        "width": 100,
        "height": 100,
        "quality": {"flags": ["blurred"]},
        "image_url": f"/api/v1/analyses/a/frames/{ordinal}/image",
        "findings": [finding(ordinal, label, probabilities.get(label, 0.1)) for label in LABELS],
    }


FRAMES = [
    frame(0, "normal.png"),
    frame(1, HOSTILE, polyp=0.93, bleeding=0.6),
    frame(2, "content.png", content=0.8),
    {
        "ordinal": 3,
        "name": "broken.jpg",
        "sha256": "f" * 64,
        "size": 9,
        "error": {"code": "truncated", "detail": "The image breaks off."},
    },
]
JOB = {"id": "j", "state": "succeeded", "finished_at": "2026-11-22T10:00:00Z", "result": {"analysis_id": "a"}}


def version(pointing: dict[str, float]) -> dict[str, Any]:
    measured = {
        label: {"auc": {"value": 0.9, "low": 0.8, "high": 0.95}, "pointing": None} for label in LABELS
    }
    for label, rate in pointing.items():
        measured[label]["pointing"] = {"rate": rate, "n": 40, "hits": 30}
    return {
        "name": "lesion-detector",
        "version": 2,
        "task": "image-multilabel",
        "labels": [{"name": label, "evidence": "synthetic"} for label in LABELS],
        "operating_points": {"balanced": dict.fromkeys(LABELS, 0.5)},
        "default_operating_point": "balanced",
        "metrics": {"frames": 200, "groups": 25, "labels": measured},
        "evidence": "synthetic",
        "intended_use": "Research.",
        "limitations": "Synthetic frames only.",
    }


ENGINE = {
    "engine": "torch",
    "dtype": "float32",
    "device": "cpu",
    "processor": "AVX2",
    "threads": 2,
    "build": "2.13.0",
}


def open_reading(browser: Chrome, site: Site, *, pointing: dict[str, float] | None = None) -> None:
    with_person(site)
    model = {"name": "lesion-detector", "version": 2, "id": "v", "sha256": "5" * 64}
    counts = {"frames": 4, "unreadable": 1, "positives": {"polyp": 1, "bleeding": 1, "content": 1}}
    site.answer(
        "analyses/a",
        {"id": "a", "job": JOB, "model": model, "engines": [ENGINE], "operating_point": "balanced"}
        | {"counts": counts},
    )
    site.answer("models/lesion-detector/versions/2", version(pointing or {}))
    site.answer("analyses/a/frames?limit=200", {"items": FRAMES[:2], "next_cursor": "1"})
    site.answer("analyses/a/frames?limit=200&cursor=1", {"items": FRAMES[2:], "next_cursor": None})
    for ordinal in range(3):
        site.answer(f"analyses/a/frames/{ordinal}/image", PNG, Content_Type="image/png")
        for label in LABELS:
            site.answer(f"analyses/a/frames/{ordinal}/overlay?label={label}", PNG, Content_Type="image/png")
    sign_in(browser, site)
    wait_for(browser, "state", "No frames chosen")
    browser.execute_script("location.hash = '#/analyses/a'")
    wait_for(browser, "state", "4 frames, 2 with findings, 1 unreadable.")


def press(browser: Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def map_is_shown(browser: Chrome) -> bool:
    return browser.find_element(By.ID, "map").is_displayed()


def wait_until(browser: Chrome, condition: Any) -> None:
    WebDriverWait(browser, 10, poll_frequency=0.05).until(lambda _: condition())


def test_first_frame_with_findings_is_shown_with_its_marks(browser: Chrome, site: Site) -> None:
    open_reading(browser, site)
    assert text(browser, "card-title") == "Frame 2"
    assert mark_words(browser) == ["P 93 %", "B 60 %"]
    assert "trained on synthetic frames" in text(browser, "findings")
    assert "blurred" in text(browser, "frame-facts")
    assert "Angioectasia is not a class" in text(browser, "not-a-class")
    assert complaints(browser) == []


def test_map_without_a_colour_says_so_in_words(browser: Chrome, site: Site) -> None:
    open_reading(browser, site)
    assert text(browser, "map-note") == "Map quality: not measured."
    press(browser, "4")
    said = "No colour: no single place speaks for content, the evidence is spread over the whole frame."
    assert text(browser, "map-note") == f"{said} Map quality: not measured."


def test_names_are_text_wherever_they_are_shown(browser: Chrome, site: Site) -> None:
    open_reading(browser, site)
    assert HOSTILE in text(browser, "frame-facts")
    assert browser.find_elements(By.CSS_SELECTOR, "img[src='x']") == []
    assert browser.title != "1"


def test_map_is_shown_while_h_is_held(browser: Chrome, site: Site) -> None:
    open_reading(browser, site)
    assert not map_is_shown(browser)
    ActionChains(browser).key_down("h").perform()
    wait_until(browser, lambda: map_is_shown(browser))
    assert browser.find_element(By.ID, "map").get_attribute("alt") == "Heat map of polyp"
    ActionChains(browser).key_up("h").perform()
    assert not map_is_shown(browser)


def test_scale_says_its_unit_and_marks_from_where_the_map_is_drawn(browser: Chrome, site: Site) -> None:
    open_reading(browser, site)
    assert text(browser, "scale-words") == "polyp, log-odds per 1\u202f% of frame"
    tick, bar = browser.execute_script("""
        const bar = document.querySelector(".scale-bar");
        return [getComputedStyle(bar, "::after").left, bar.clientWidth];
    """)
    assert float(tick.removesuffix("px")) == pytest.approx(bar * 0.02 / 0.5, abs=0.5)


def test_clicked_finding_is_the_one_mapped(browser: Chrome, site: Site) -> None:
    open_reading(browser, site)
    browser.find_element(By.ID, "toggle-map").click()
    browser.find_element(By.CSS_SELECTOR, "[title='Show the map of bleeding']").click()
    wait_until(
        browser, lambda: browser.find_element(By.ID, "map").get_attribute("alt") == "Heat map of bleeding"
    )
    assert "analyses/a/frames/1/overlay?label=bleeding" in site.asked


def test_map_and_bracket_are_hidden_where_they_were_measured_to_mislead(browser: Chrome, site: Site) -> None:
    open_reading(browser, site, pointing={"polyp": 0.31, "bleeding": 0.9})
    assert "only 31" in text(browser, "map-note")
    assert not browser.find_element(By.ID, "toggle-map").is_enabled()
    assert mark_words(browser) == ["B 60 %"]


def test_o_hides_every_mark(browser: Chrome, site: Site) -> None:
    open_reading(browser, site)
    assert browser.find_element(By.ID, "marks").is_displayed()
    press(browser, "o")
    assert not browser.find_element(By.ID, "marks").is_displayed()
    press(browser, "o")
    assert browser.find_element(By.ID, "marks").is_displayed()


def test_arrows_walk_the_frames_and_stop_at_the_ends(browser: Chrome, site: Site) -> None:
    open_reading(browser, site)
    places = []
    for key in (Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.END, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.HOME):
        press(browser, key)
        places.append(text(browser, "position"))
    assert places == ["1 of 4", "1 of 4", "4 of 4", "4 of 4", "3 of 4", "1 of 4"]


def test_digits_filter_by_label(browser: Chrome, site: Site) -> None:
    open_reading(browser, site)
    press(browser, "4")
    assert (text(browser, "card-title"), text(browser, "position")) == ("Frame 3", "1 of 1")
    press(browser, "0")
    assert text(browser, "position") == "3 of 4"


def test_unreadable_frame_says_why_and_what_it_means(browser: Chrome, site: Site) -> None:
    open_reading(browser, site)
    press(browser, Keys.END)
    assert text(browser, "picture-note") == "Not read. The image breaks off before its end."
    assert "The other frames are not affected" in text(browser, "findings")
    assert text(browser, "map-note") == "No map: this frame was not read."


def _downloaded(folder: Path, suffix: str) -> str:
    for _ in range(200):
        found = list(folder.glob(f"*.{suffix}"))
        if found and found[0].stat().st_size:
            return found[0].read_bytes().decode()
        time.sleep(0.05)
    raise AssertionError("nothing was downloaded")


def test_csv_has_a_row_per_frame_and_label(browser: Chrome, site: Site, tmp_path: Path) -> None:
    open_reading(browser, site)
    browser.find_element(By.ID, "export-csv").click()
    rows = list(csv.DictReader(io.StringIO(_downloaded(tmp_path / "downloads", "csv"), newline="")))
    assert len(rows) == 3 * len(LABELS) + 1
    polyp = next(row for row in rows if row["frame"] == "1" and row["label"] == "polyp")
    assert polyp["name"] == "'" + HOSTILE
    assert (polyp["probability"], polyp["peak_x_px"], polyp["box_w_px"]) == ("0.93", "50", "20")
    assert rows[-1]["error"] == "truncated"
    assert {row["note"] for row in rows} == {"Research use. Not for diagnosis."}


def test_json_holds_what_the_service_said(browser: Chrome, site: Site, tmp_path: Path) -> None:
    open_reading(browser, site)
    browser.find_element(By.ID, "export-json").click()
    found = json.loads(_downloaded(tmp_path / "downloads", "json"))
    assert found["frames"] == FRAMES
    assert found["note"] == "Research use. Not for diagnosis."


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_stage_stays_black(browser: Chrome, site: Site, theme: str) -> None:
    open_reading(browser, site)
    browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    colour = "return getComputedStyle(document.getElementById('stage')).backgroundColor"
    assert browser.execute_script(colour) == "rgb(0, 0, 0)"

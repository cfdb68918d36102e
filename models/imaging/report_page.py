"""The page that report and card share: one file, no script, nothing from elsewhere, prints on A4."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models.imaging.html import Child, Html, element, join
from models.imaging.report_words import NOT_MEASURED, RESEARCH_USE, plain
from models.imaging.tokens import LABEL_COLOURS, LIGHT, class_of, symbol_of

_STYLE = f"""
:root {{ --ink: {LIGHT["ink"]}; --quiet: {LIGHT["quiet"]}; --line: {LIGHT["line"]}; color-scheme: light; }}
* {{ box-sizing: border-box; }}
html {{ font: 400 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }}
body {{ margin: 0 auto; padding: 24px; max-width: 820px; background: {LIGHT["ground"]}; color: var(--ink);
  font-variant-numeric: tabular-nums; }}
h1, h2, h3, p, dl, dd, figure, ul {{ margin: 0; padding: 0; }}
h1 {{ font-size: 27px; font-weight: 600; line-height: 1.2; }}
h2 {{ font-size: 17.5px; font-weight: 600; margin: 32px 0 8px; padding-top: 12px;
  border-top: 1px solid var(--line); }}
h3 {{ font-size: 14px; font-weight: 600; margin: 16px 0 4px; }}
p {{ margin: 4px 0; }}
ul {{ padding-left: 20px; }}
code {{ font: 11px ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }}
.quiet, figcaption, .kind {{ color: var(--quiet); }}
figcaption, .small {{ font-size: 11px; }}
.answer {{ font-size: 17.5px; line-height: 1.4; margin: 12px 0; }}
.notice {{ border: 1px solid {LIGHT["bad"]}; border-left-width: 6px; color: {LIGHT["bad"]}; font-weight: 600;
  padding: 8px 12px; border-radius: 6px; margin: 12px 0; }}
.warn {{ color: {LIGHT["warn"]}; font-weight: 600; }}
.bad {{ color: {LIGHT["bad"]}; font-weight: 600; }}
.good {{ color: {LIGHT["good"]}; font-weight: 600; }}
.plots {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 8px 16px; }}
figure {{ break-inside: avoid; }}
figure svg {{ display: block; max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; width: 100%; margin: 4px 0; font-size: 13px; }}
th, td {{ text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); }}
td {{ vertical-align: top; }}
th {{ vertical-align: bottom; }}
th {{ font-weight: 600; color: var(--quiet); }}
td.number, th.number {{ text-align: right; }}
td.number {{ white-space: nowrap; }}
td:last-child, th:last-child {{ padding-right: 0; }}
tr {{ break-inside: avoid; }}
details {{ font-size: 11px; margin: 4px 0; }}
summary {{ color: {LIGHT["accent"]}; cursor: pointer; }}
summary:focus-visible {{ outline: 2px solid {LIGHT["accent"]}; outline-offset: 2px; }}
details table {{ font-size: 11px; width: auto; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; font-size: 13px; margin: 4px 0; }}
dt {{ color: var(--quiet); }}
dd {{ overflow-wrap: anywhere; }}
.mark {{ display: inline-block; min-width: 20px; text-align: center; font-weight: 600; margin-right: 8px;
  border: 1.5px solid currentcolor; border-radius: 4px; padding: 0 4px; white-space: nowrap; }}
{"".join(f".c-{name} {{ color: {colour}; }} " for name, colour in LABEL_COLOURS.items())}
footer {{ margin-top: 32px; border-top: 1px solid var(--line); padding-top: 8px; color: var(--quiet);
  font-size: 11px; }}
@page {{ size: A4; margin: 20mm;
  @bottom-left {{ content: "{RESEARCH_USE}"; font: 9px sans-serif; }}
  @bottom-right {{ content: counter(page) " of " counter(pages); font: 9px sans-serif; }} }}
@media print {{
  html {{ font-size: 12px; }}
  body {{ padding: 0; max-width: none; background: none; }}
  h2, h3 {{ break-after: avoid; }}
  details:not([open]) {{ display: none; }}
}}
"""


def page(title: str, *children: Child) -> str:
    """The whole document; research use stands at its head and at its foot."""
    hashed = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{hashed}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Html(_STYLE)),
    )
    body = element(
        "body",
        element("p", RESEARCH_USE, class_="notice"),
        element("main", *children),
        element("footer", RESEARCH_USE, " ", title),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def mark(label: str) -> Html:
    """Shape and letter of a label in its colour."""
    return element("span", symbol_of(label), class_=f"mark {class_of(label)}")


def section(title: Child, *children: Child) -> Html:
    return element("section", element("h2", title), *children)


def table(columns: Sequence[str], rows: Iterable[Sequence[Child]], *, numbers: frozenset[int]) -> Html:
    """`numbers` are the columns that stand flush right; a cell that is None says that it was not measured."""

    def cell(tag: str, at: int, content: Child) -> Html:
        shown = NOT_MEASURED if content is None else content
        return element(tag, shown, class_="number" if at in numbers else None)

    heads = element("tr", *(cell("th", at, name) for at, name in enumerate(columns)))
    lines = (element("tr", *(cell("td", at, value) for at, value in enumerate(row))) for row in rows)
    return element("table", element("thead", heads), element("tbody", *lines))


def facts(pairs: Mapping[str, Child]) -> Html:
    """Names beside values; what is None is said to be unknown."""
    lines = (
        join(element("dt", name), element("dd", "not stated" if value is None else value))
        for name, value in pairs.items()
    )
    return element("dl", *lines)


def figure(svg: Html, caption: str, columns: Sequence[str], rows: Iterable[Sequence[Child]]) -> Html:
    """A plot, what it shows, and the same data as a table."""
    behind = table(columns, rows, numbers=frozenset(range(len(columns))))
    return element(
        "figure",
        svg,
        element("figcaption", caption),
        element("details", element("summary", "table"), behind),
    )


def tree(value: Mapping[str, Any]) -> Html:
    """Any JSON object as names and values, nested names joined by dots."""
    return facts({name: plain(item) for name, item in _flat(value)})


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(item) if isinstance(item, list | Mapping) else item

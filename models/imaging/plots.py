"""The plots of a report as SVG text: one theme, thin axes, reference lines named; no browser, no network."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import altair as alt
import vl_convert

from models.imaging.html import Html
from models.imaging.tokens import LIGHT, colour_of, shape_of

_SQUARE_PX = 180
_ROW_PX = 34
_DASHED = [4, 3]
_HALVES = [0, 0.5, 1]
_UNIT = alt.Scale(domain=[0, 1], nice=False)
_PERCENT = "format(datum.value * 100, 'd') + ' %'"
_THEME: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domainColor": LIGHT["quiet"],
        "tickColor": LIGHT["quiet"],
        "grid": False,
        "labelColor": LIGHT["ink"],
        "titleColor": LIGHT["quiet"],
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": 400,
        "tickSize": 4,
    },
    "text": {"color": LIGHT["quiet"], "fontSize": 11},
}
# Vega names every mark for screen readers, one by one; the figure has one description, and its table.
_ROLES = re.compile(r' (?:role|aria-[a-z]+)="[^"]*"')


@dataclass(frozen=True)
class Dot:
    """One row of a dot plot; `label` gives colour and shape, `beside` is what it is compared with."""

    name: str
    value: float
    said: str
    label: str
    low: float | None = None
    high: float | None = None
    beside: float | None = None


def dots(
    rows: Sequence[Dot],
    *,
    title: str,
    beside: str,
    reference: tuple[float, str] | None = None,
    lowest: float = 0.0,
    in_percent: bool = True,
    width_px: int = 460,
) -> Html:
    """Values with intervals, in the order given, each beside what it is compared with (hollow)."""
    values = [asdict(row) | _marked(row) for row in rows]
    chart = _chart(values)
    y = alt.Y("name:N", sort=[row.name for row in rows], title=None, axis=_names_axis())
    x = alt.X("value:Q", title=title, scale=alt.Scale(domain=[lowest, 1], nice=False), axis=_axis(in_percent))
    colour, shape = _given("colour:N"), _given("shape:N", kind=alt.Shape)
    ends = chart.transform_filter("datum.low !== null")
    layers = [
        ends.mark_rule(strokeWidth=2).encode(x=_at(x, "low:Q"), x2="high:Q", y=y, color=colour),
        chart.mark_point(filled=True, size=80, opacity=1).encode(x=x, y=y, color=colour, shape=shape),
        chart.mark_text(dy=-11, fontWeight=600, color=LIGHT["ink"]).encode(x=x, y=y, text="said:N"),
    ]
    if reference is not None:
        layers = [*_line_down(x, *reference), *layers]
    layers += _beside(values, x, y, name=beside)
    # The reader's font may be wider than the one that was measured here.
    padding = {"left": 24, "right": 8, "top": 4, "bottom": 4}
    return _svg(alt.layer(*layers).properties(width=width_px, height=_ROW_PX * len(rows), padding=padding))


def roc(false_positive_rate: Sequence[float], sensitivity: Sequence[float], *, label: str) -> Html:
    """Receiver operating characteristic with the line of chance."""
    chance = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]
    points = zip(false_positive_rate, sensitivity, strict=True)
    titles = ("share of negatives called positive", "sensitivity")
    return _curve(points, titles, label=label, line=chance, named=("chance", 0.62, 0.54))


def precision_recall(
    recall: Sequence[float], precision: Sequence[float], *, label: str, prevalence: float | None
) -> Html:
    """Precision over recall; without knowledge precision would be the prevalence."""
    level = prevalence or 0.0
    line = [{"x": 0, "y": level}, {"x": 1, "y": level}] if prevalence is not None else []
    points = zip(recall, precision, strict=True)
    titles = ("sensitivity (recall)", "positive predictive value")
    return _curve(points, titles, label=label, line=line, named=("prevalence", 0.5, max(0.04, level - 0.05)))


def reliability(bins: Sequence[Mapping[str, Any]], *, label: str) -> Html:
    """What was said against what was so, per bin of probability; below, how often each was said.

    Args:
        bins: `{"low", "high", "count", "mean_probability", "frequency"}`; an empty bin has no means.
    """
    filled = [dict(one) for one in bins if one["count"] and one["frequency"] is not None]
    x = alt.X("x:Q", title=None, scale=_UNIT, axis=alt.Axis(values=_HALVES, labels=False))
    y = alt.Y("y:Q", title="share that was so", scale=_UNIT, axis=_square_axis())
    perfect = _chart([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
    said = _chart(filled)
    colour = alt.value(colour_of(label))
    upper = alt.layer(
        perfect.mark_line(strokeDash=_DASHED, strokeWidth=1, color=LIGHT["quiet"]).encode(x=x, y=y),
        _word("perfect", 0.68, 0.6, x, y),
        said.mark_line(strokeWidth=1.5).encode(
            x=_at(x, "mean_probability:Q"), y=_at(y, "frequency:Q"), color=colour
        ),
        said.mark_point(filled=True, size=40, opacity=1).encode(
            x=_at(x, "mean_probability:Q"), y=_at(y, "frequency:Q"), color=colour
        ),
    ).properties(width=_SQUARE_PX, height=_SQUARE_PX)
    lower = (
        _chart(filled)
        .mark_rect(color=LIGHT["line"], stroke=LIGHT["quiet"], strokeWidth=0.5)
        .encode(
            x=alt.X("low:Q", title="probability that was said", scale=_UNIT, axis=_square_axis()),
            x2="high:Q",
            y=alt.Y(
                "count:Q", title="frames", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=2, format="d")
            ),
            y2=alt.datum(0),
        )
        .properties(width=_SQUARE_PX, height=36)
    )
    return _svg(alt.vconcat(upper, lower, spacing=4))


def _curve(
    points: Any, titles: tuple[str, str], *, label: str, line: list[Any], named: tuple[str, float, float]
) -> Html:
    x = alt.X("x:Q", title=titles[0], scale=_UNIT, axis=_square_axis())
    y = alt.Y("y:Q", title=titles[1], scale=_UNIT, axis=_square_axis())
    values = [{"at": at, "x": across, "y": up} for at, (across, up) in enumerate(points)]
    curve = (
        _chart(values)
        .mark_line(interpolate="linear", strokeWidth=1.5)
        .encode(x=x, y=y, order="at:Q", color=alt.value(colour_of(label)))
    )
    reference = [
        _chart(line).mark_line(strokeDash=_DASHED, strokeWidth=1, color=LIGHT["quiet"]).encode(x=x, y=y),
        _word(*named, x, y),
    ]
    layers = [*(reference if line else []), curve]
    return _svg(alt.layer(*layers).properties(width=_SQUARE_PX, height=_SQUARE_PX))


def _chart(values: Sequence[Mapping[str, Any]]) -> Any:
    return alt.Chart(alt.InlineData(values=list(values)))


def _word(text: str, across: float, up: float, x: alt.X, y: alt.Y) -> Any:
    """The name of a reference line, beside it."""
    at = _chart([{"x": across, "y": up, "text": text}])
    return at.mark_text(align="left", baseline="top").encode(x=x, y=y, text="text:N")


def _line_down(x: alt.X, at: float, name: str) -> list[Any]:
    chart = _chart([{"value": at, "text": name}])
    return [
        chart.mark_rule(strokeDash=_DASHED, color=LIGHT["quiet"], strokeWidth=1).encode(x=x),
        chart.mark_text(align="left", dx=4, dy=-6, baseline="bottom").encode(
            x=x, y=alt.value(0), text="text:N"
        ),
    ]


def _beside(values: Sequence[Mapping[str, Any]], x: alt.X, y: alt.Y, *, name: str) -> list[Any]:
    compared = [row for row in values if row["beside"] is not None]
    if not compared:
        return []
    chart, first = (_chart(rows) for rows in (compared, compared[:1]))
    at = _at(x, "beside:Q")
    return [
        chart.mark_point(filled=False, size=60, color=LIGHT["quiet"], strokeWidth=1.5).encode(x=at, y=y),
        first.mark_text(dy=13, dx=-4, align="left").encode(x=at, y=y, text=alt.value(name)),
    ]


def _marked(row: Dot) -> dict[str, Any]:
    has_interval = row.low is not None and row.high is not None
    return {
        "colour": colour_of(row.label),
        "shape": shape_of(row.label),
        "low": row.low if has_interval else None,
    }


def _given(field: str, *, kind: Any = alt.Color) -> Any:
    """The data say the colour or the shape itself; a legend would repeat the names of the rows."""
    return kind(field, scale=None, legend=None)


def _at(axis: Any, field: str) -> Any:
    """The same axis, another field."""
    moved = axis.copy()
    moved.shorthand = field
    return moved


def _names_axis() -> alt.Axis:
    return alt.Axis(ticks=False, domain=False, labelPadding=8, labelLimit=200, labelFontSize=12)


def _axis(in_percent: bool) -> alt.Axis:
    return alt.Axis(tickCount=6, labelExpr=_PERCENT) if in_percent else alt.Axis(tickCount=6, format=".1f")


def _square_axis() -> alt.Axis:
    return alt.Axis(values=_HALVES, labelExpr=_PERCENT)


def _svg(chart: Any) -> Html:
    """The chart as an element that names itself to nobody: the figure's caption does."""
    text = vl_convert.vegalite_to_svg(chart.to_dict(), config=_THEME)
    quiet = _ROLES.sub("", text).replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
    return Html(quiet)

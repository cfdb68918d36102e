"""One label in the report: its measures, curves, operating points and where its map points."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.artifacts import Label
from models.imaging import plots
from models.imaging.calibration import OFF
from models.imaging.html import Html, element, join
from models.imaging.plots import Dot
from models.imaging.report_page import facts, figure, mark, section, table
from models.imaging.report_words import (
    EVIDENCE,
    NOT_MEASURED,
    area,
    counted,
    listed,
    measure_name,
    percent,
    share,
    two_digits,
)

Metrics = Mapping[str, Any]

_POINTS_SHOWN = 100  # of a curve: more cannot be told apart on paper
_SPECIFICITIES = (80, 90, 95)
_PLACED = frozenset(
    {
        "auc",
        "prevalence",
        "calibration_error",
        "colour_baseline",
        *(f"sensitivity_at_{bar}_specificity" for bar in _SPECIFICITIES),
    }
)
_DECISIONS = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")
_ALL_IN_ONE = {"balanced_accuracy": share, "f1": area, "mcc": area}  # F1 and MCC are shares of nothing


def label_section(label: Label, metrics: Metrics) -> Html:
    entry = metrics["labels"][label.name]
    colour = (metrics.get("colour_baseline") or {}).get(label.name)
    return section(
        join(mark(label.name), label.name),
        facts(
            {
                "Evidence": EVIDENCE[label.evidence],
                "Frames": _frames(entry),
                "AUC": area(entry.get("auc")) or NOT_MEASURED,
                "Colour alone": area(colour) or NOT_MEASURED,
                "Calibration error": two_digits(entry.get("calibration_error")) or NOT_MEASURED,
            }
            | others(entry)
        ),
        _curves(label.name, entry),
        _sensitivities(label.name, entry),
        _operating_points(entry),
        _maps(label.name, entry),
    )


def _frames(entry: Metrics) -> str:
    said = f"{entry['positives']:,} with it among {entry['known']:,} that are labelled"
    return said if entry["prevalence"] is None else f"{said} ({percent(entry['prevalence'])})"


def _curves(name: str, entry: Metrics) -> Html:
    curves = entry.get("curves") or {}
    on = f"n = {entry['known']:,}"
    drawn = [
        _roc(name, curves.get("roc"), on),
        _precision_recall(name, curves.get("precision_recall"), entry.get("prevalence"), on),
        _reliability(name, curves.get("reliability"), on),
    ]
    missing = [
        said
        for said, plot in zip(("ROC curve", "precision over recall", "reliability"), drawn, strict=True)
        if plot is None
    ]
    return join(
        element("div", *drawn, class_="plots") if any(drawn) else None,
        element("p", f"{listed(missing)}: {NOT_MEASURED}.", class_="quiet") if missing else None,
    )


def _roc(name: str, curve: Metrics | None, on: str) -> Html | None:
    if not curve:
        return None
    across, up = _thinned(curve["false_positive_rate"]), _thinned(curve["sensitivity"])
    rows = [[percent(a), percent(b)] for a, b in zip(across, up, strict=True)]
    return figure(
        plots.roc(across, up, label=name),
        f"ROC curve, {on}",
        ("called positive wrongly", "sensitivity"),
        rows,
    )


def _precision_recall(name: str, curve: Metrics | None, prevalence: float | None, on: str) -> Html | None:
    if not curve:
        return None
    across, up = _thinned(curve["recall"]), _thinned(curve["precision"])
    rows = [[percent(a), percent(b)] for a, b in zip(across, up, strict=True)]
    svg = plots.precision_recall(across, up, label=name, prevalence=prevalence)
    return figure(svg, f"Precision over recall, {on}", ("sensitivity", "positive predictive value"), rows)


def _reliability(name: str, bins: Sequence[Metrics] | None, on: str) -> Html | None:
    if not bins or not any(one["count"] for one in bins):
        return None
    rows = [
        [
            f"{one['low'] * 100:.0f} to {one['high'] * 100:.0f} %",
            f"{one['count']:,}",
            percent(one["mean_probability"]) if one["count"] else "none",
            percent(one["frequency"]) if one["count"] else "none",
        ]
        for one in bins
    ]
    columns = ("probability", "frames", "mean said", "was so")
    return figure(plots.reliability(bins, label=name), f"Reliability, {on}", columns, rows)


def _thinned(values: Sequence[float]) -> Sequence[float]:
    """At most about a hundred points, the last one kept."""
    step = -(-len(values) // _POINTS_SHOWN)
    kept = values[::step]
    return kept if (len(values) - 1) % step == 0 else [*kept, values[-1]]


def _sensitivities(name: str, entry: Metrics) -> Html:
    found = {bar: entry.get(f"sensitivity_at_{bar}_specificity") for bar in _SPECIFICITIES}
    dots = [
        Dot(
            f"at {bar} % specificity",
            one["value"],
            percent(one["value"]) or NOT_MEASURED,
            name,
            one["low"],
            one["high"],
        )
        for bar, one in found.items()
        if one is not None
    ]
    if not dots:
        return element("p", f"Sensitivity at fixed specificity: {NOT_MEASURED}.", class_="quiet")
    svg = plots.dots(dots, title="sensitivity", beside="")
    rows = [[f"{bar} %", share(one)] for bar, one in found.items()]
    return figure(
        svg,
        "Sensitivity with 95 % intervals over groups",
        ("at specificity", "sensitivity (95 % interval)"),
        rows,
    )


def _operating_points(entry: Metrics) -> Html:
    points = entry.get("operating_points") or {}
    if not points:
        return element("p", f"Operating points: {NOT_MEASURED}.", class_="quiet")
    columns = ("operating point", "threshold", *(measure_name(name) for name in _DECISIONS))
    rows = [
        [point, threshold(values["threshold"]), *(share(values.get(name)) for name in _DECISIONS)]
        for point, values in points.items()
    ]
    # A table of its own: eight intervals do not fit beside each other on A4.
    in_one = [
        [point, *(say(values.get(name)) for name, say in _ALL_IN_ONE.items())]
        for point, values in points.items()
    ]
    one_columns = ("operating point", *(measure_name(name) for name in _ALL_IN_ONE))
    return join(
        element("h3", "Operating points"),
        table(columns, rows, numbers=frozenset(range(1, len(columns)))),
        table(one_columns, in_one, numbers=frozenset(range(1, len(one_columns)))),
        element("p", "In parentheses: 95 % interval over groups.", class_="quiet small"),
    )


def threshold(value: float) -> str | None:
    """A threshold for people; one that turns its label off says so."""
    return "off" if value >= OFF else percent(value)


def _maps(name: str, entry: Metrics) -> Html:
    """Where the map points, beside the map of random weights and a point taken at random."""
    measured = entry.get("map") or {}
    random_weights = measured.get("random_weights") or {}
    pointing = measured.get("pointing") or entry.get("pointing")
    places = {
        "peak in the lesion": (pointing, random_weights.get("pointing")),
        "overlap with it (IoU)": (measured.get("overlap"), random_weights.get("overlap")),
    }
    found = {said: pair for said, pair in places.items() if _rate(pair[0]) is not None}
    if not found:
        return join(
            element("h3", "Where its map points"), element("p", f"Its map: {NOT_MEASURED}.", class_="quiet")
        )
    dots = [
        Dot(said, _rate(own) or 0.0, percent(_rate(own)) or NOT_MEASURED, name, *_ends(own), _rate(other))
        for said, (own, other) in found.items()
    ]
    by_chance = (pointing or {}).get("lesion_share")
    reference = None if by_chance is None else (by_chance, f"a point at random: {percent(by_chance)}")
    rows = [[said, percent(_rate(own)), percent(_rate(other))] for said, (own, other) in found.items()]
    missing = [said for said in places if said not in found]
    caption = f"Of {counted((pointing or {}).get('n', 0), 'frame')} with a drawn lesion"
    return join(
        element("h3", "Where its map points"),
        figure(
            plots.dots(dots, title="share", beside="random weights", reference=reference),
            caption,
            ("", "this version", "random weights"),
            rows,
        ),
        element("p", f"{listed(missing)}: {NOT_MEASURED}.", class_="quiet") if missing else None,
    )


def others(measured: Metrics) -> dict[str, str | None]:
    """Single numbers, with their intervals, that have no place of their own."""
    return {
        measure_name(name): area(_estimate(value))
        for name, value in measured.items()
        if name not in _PLACED and _estimate(value) is not None
    }


def _estimate(value: Any) -> Metrics | None:
    if isinstance(value, Mapping):
        return value if "value" in value else None
    return {"value": value} if isinstance(value, float) else None


def _rate(entry: Metrics | None) -> float | None:
    """The share itself, under the names that measures of maps have for it."""
    return (
        next((entry[key] for key in ("rate", "value", "mean") if entry.get(key) is not None), None)
        if entry
        else None
    )


def _ends(entry: Metrics | None) -> tuple[float | None, float | None]:
    return (entry.get("low"), entry.get("high")) if entry else (None, None)

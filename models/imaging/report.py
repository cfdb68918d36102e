"""The evaluation report of a model version: one HTML file that a clinician can read and print.

Made from the spec and the stored metrics alone. What a version does not have, as one that was measured before
curves were kept or that was imported, is said to be not measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.artifacts import Label, ModelSpec
from models.imaging import plots
from models.imaging.calibration import OFF
from models.imaging.html import Child, Html, element, join
from models.imaging.plots import Dot
from models.imaging.report_judgement import answer
from models.imaging.report_page import facts, figure, page, section, table, tree
from models.imaging.report_words import (
    EVIDENCE,
    MEASURES,
    NOT_MEASURED,
    area,
    counted,
    listed,
    percent,
    plain,
    share,
    two_digits,
)
from models.imaging.tokens import class_of, symbol_of

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
_SIDES = (
    "A group (patient, video, block) stands on one side only. Weights are learnt on train; epoch, "
    "calibration and thresholds are chosen on tune; what is reported was measured on test."
)
_DECISIONS = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")


@dataclass(frozen=True)
class Passport:
    """What the registry knows of a version beside its spec; what is None is not known there."""

    name: str
    version: int
    sha256: str
    size_bytes: int
    created_at: str
    dataset: str | None = None
    job_id: str | None = None

    @property
    def title(self) -> str:
        return f"{self.name}, version {self.version}"


def render_report(
    spec: ModelSpec, metrics: Metrics, passport: Passport, *, measured_on: str | None = None
) -> str:
    """The report as one HTML document.

    Args:
        spec: of the version.
        metrics: as a recipe left them, or empty.
        passport: who the version is.
        measured_on: the dataset of a later evaluation; None for what the training measured itself.
    """
    labels = metrics.get("labels") or {}
    title = f"{passport.title}: evaluation report"
    return page(
        title,
        element("h1", passport.title),
        element("p", "Evaluation report", "" if measured_on is None else f" on {measured_on}", class_="kind"),
        element("p", answer(metrics, drawn=_is_drawn(spec, measured_on)), class_="answer"),
        purpose(spec),
        _overview(spec, metrics) if labels else None,
        *(_label(label, metrics) for label in spec.labels if label.name in labels),
        _leaks(metrics.get("leaks")),
        _gaps(spec, metrics),
        _comparison(metrics.get("comparison")),
        _data(metrics, spec, passport, measured_on),
        _training(metrics.get("training") or {}),
        identity(spec, passport),
    )


def _is_drawn(spec: ModelSpec, measured_on: str | None) -> bool:
    """Of a later measurement the registry does not say what its frames are."""
    measured = {label.evidence for label in spec.labels} - {"none"}
    return measured_on is None and measured == {"synthetic"}


def purpose(spec: ModelSpec) -> Html:
    return join(
        element("p", element("b", "For: "), spec.intended_use),
        element("p", element("b", "Limits: "), spec.limitations),
    )


def mark(label: str) -> Html:
    """Shape and letter of a label in its colour."""
    return element("span", symbol_of(label), class_=f"mark {class_of(label)}")


def identity(spec: ModelSpec, passport: Passport) -> Html:
    """Which version this is, exactly, and where it comes from."""
    return section(
        "Passport",
        facts(
            {
                "Model": passport.title,
                "Weights SHA-256": element("code", passport.sha256),
                "Weights": f"{passport.size_bytes:,} bytes",
                "Made": passport.created_at,
                "By job": passport.job_id and element("code", passport.job_id),
                "Code version": spec.code_version,
                "Computed by": f"{spec.engine}, {spec.dtype}",
                "Seed": str(spec.seed),
                "Licence": spec.licence,
                "Paper": spec.paper,
            }
        ),
    )


def _overview(spec: ModelSpec, metrics: Metrics) -> Html:
    labels, colours = metrics["labels"], metrics.get("colour_baseline") or {}
    ranked = sorted(
        (name for name in labels if labels[name].get("auc") is not None),
        key=lambda name: -labels[name]["auc"]["value"],
    )
    missing = [label.name for label in spec.labels if label.name not in ranked]
    rows = [
        [
            name,
            area(labels[name]["auc"]),
            area(colours.get(name)),
            f"{labels[name]['positives']:,} of {labels[name]['known']:,}",
        ]
        for name in ranked
    ]
    return section(
        "How well the labels are told apart",
        _area_figure(ranked, labels, colours, rows) if ranked else None,
        element("p", f"{NOT_MEASURED.capitalize()}: {listed(missing)}.") if missing else None,
        facts(others) if (others := _others(metrics)) else None,
    )


def _area_figure(
    ranked: Sequence[str], labels: Metrics, colours: Metrics, rows: Sequence[Sequence[Child]]
) -> Html:
    dots = [
        Dot(
            name,
            labels[name]["auc"]["value"],
            f"{labels[name]['auc']['value']:.2f}",
            name,
            labels[name]["auc"]["low"],
            labels[name]["auc"]["high"],
            (colours.get(name) or {}).get("value"),
        )
        for name in ranked
    ]
    ends = [value for dot in dots for value in (dot.value, dot.low, dot.beside) if value is not None]
    svg = plots.dots(
        dots,
        title="area under the ROC curve (AUC)",
        beside="colour alone",
        reference=(0.5, "chance"),
        lowest=max(0.0, min(0.45, *ends) - 0.05),
        in_percent=False,
    )
    caption = (
        "Dots: how often a frame with the finding gets the higher score of two. Lines: 95 % intervals over "
        "groups (patients, videos). Hollow: a forest on colour histograms of the same frames, blind to shape."
    )
    columns = ("label", "AUC (95 % interval)", "colour alone", "positive frames")
    return figure(svg, caption, columns, rows)


def _label(label: Label, metrics: Metrics) -> Html:
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
            | _others(entry)
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
    columns = ("operating point", "threshold", *(MEASURES[name] for name in _DECISIONS))
    rows = [
        [point, threshold(values["threshold"]), *(share(values.get(name)) for name in _DECISIONS)]
        for point, values in points.items()
    ]
    return join(
        element("h3", "Operating points"),
        table(columns, rows, numbers=frozenset(range(1, len(columns)))),
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


def _others(measured: Metrics) -> dict[str, str | None]:
    """Single numbers, with their intervals, that have no place of their own."""
    return {
        MEASURES.get(name, name.replace("_", " ")): area(_estimate(value))
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


def _leaks(leaks: Metrics | None) -> Html:
    if not leaks:
        body = element("p", f"Whether the sides of the split leak into each other: {NOT_MEASURED}.")
        return section("Leaks", body)
    problems = [
        [str(one["code"]).replace("_", " "), plain(one.get("count"))] for one in leaks.get("problems") or []
    ]
    unchecked = [str(one).replace("_", " ") for one in leaks.get("not_checked") or []]
    verdict = str(leaks["verdict"]).replace("_", " ")
    return section(
        "Leaks",
        element("p", "Verdict: ", element("span", verdict, class_="bad" if problems else "good")),
        table(("problem", "how many"), problems, numbers=frozenset({1})) if problems else None,
        element("p", f"Not checked: {listed(unchecked)}.", class_="quiet") if unchecked else None,
    )


def _gaps(spec: ModelSpec, metrics: Metrics) -> Html:
    labels = metrics.get("labels") or {}
    lines = [f"{label.name}: everything" for label in spec.labels if label.name not in labels]
    for name, entry in labels.items():
        missing = [MEASURES.get(word, word) for word in entry.get("not_measured") or []]
        if missing:
            lines.append(f"{name}: {listed(missing)}")
    if not metrics.get("colour_baseline"):
        lines.append("what colour alone reaches")
    lines += ["anything on patients: no clinical validation has been made"]
    return section("What was not measured", element("ul", *(element("li", line) for line in lines)))


def _comparison(comparison: Metrics | None) -> Html | None:
    return None if not comparison else section("Comparison", tree(comparison))


def _data(metrics: Metrics, spec: ModelSpec, passport: Passport, measured_on: str | None) -> Html:
    split = (metrics.get("training") or {}).get("split") or {}
    own, measured = spec.dataset_fingerprint, metrics.get("labels")
    fingerprint = metrics.get("dataset_fingerprint", own) if measured else None
    sides = [
        [side, f"{split['frames'][side]:,}", f"{split['groups'][side]:,}"] for side in split.get("frames", {})
    ]
    return section(
        "Data",
        facts(
            {
                "Measured on": (measured_on or passport.dataset) if measured else "nothing",
                "Frames measured": plain(metrics.get("frames")) or NOT_MEASURED,
                "Groups measured": plain(metrics.get("groups")) or NOT_MEASURED,
                "Its fingerprint": NOT_MEASURED if fingerprint is None else element("code", fingerprint),
                "Trained on": element("code", own),
            }
        ),
        table(("side", "frames", "groups"), sides, numbers=frozenset({1, 2})) if sides else None,
        element("p", _SIDES, class_="quiet small") if sides else None,
    )


def _training(training: Metrics) -> Html:
    if not training:
        return section("Training", element("p", "Nothing is known here of how it was trained."))
    outcome = training.get("training") or {}
    return section(
        "Training",
        tree(outcome) if outcome else None,
        element("details", element("summary", "all parameters"), tree(training.get("params") or {})),
    )

"""The evaluation report of a model version: one HTML file that a clinician can read and print.

Made from the spec and the stored metrics alone. What a version does not have, as one that was measured before
curves were kept or that was imported, is said to be not measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.artifacts import ModelSpec
from models.imaging import plots
from models.imaging.html import Child, Html, element, join
from models.imaging.plots import Dot
from models.imaging.report_judgement import answer
from models.imaging.report_labels import label_section, others
from models.imaging.report_leaks import leak_section
from models.imaging.report_page import facts, figure, page, section, table, tree
from models.imaging.report_together import beyond_section, class_section, point_means
from models.imaging.report_words import (
    MEASURES,
    NOT_MEASURED,
    area,
    listed,
    plain,
)

Metrics = Mapping[str, Any]

_SIDES = (
    "A group (patient, video, block) stands on one side only. Weights are learnt on train; epoch, "
    "calibration and thresholds are chosen on tune; what is reported was measured on test."
)


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
        element("p", answer(metrics, drawn=is_drawn(spec, measured_on)), class_="answer"),
        purpose(spec),
        _overview(spec, metrics) if labels else None,
        *(label_section(label, metrics) for label in spec.labels if label.name in labels),
        class_section(metrics.get("classes")),
        beyond_section(metrics.get("beyond")),
        leak_section(metrics.get("leaks")),
        _gaps(spec, metrics),
        _comparison(metrics.get("comparison")),
        _data(metrics, spec, passport, measured_on),
        _training(metrics.get("training") or {}),
        identity(spec, passport),
    )


def is_drawn(spec: ModelSpec, measured_on: str | None = None) -> bool:
    """Of a later measurement the registry does not say what its frames are."""
    measured = {label.evidence for label in spec.labels} - {"none"}
    return measured_on is None and measured == {"synthetic"}


def purpose(spec: ModelSpec) -> Html:
    return join(
        element("p", element("b", "For: "), spec.intended_use),
        element("p", element("b", "Limits: "), spec.limitations),
    )


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
        facts(more) if (more := others(metrics)) else None,
        point_means(metrics.get("operating_points")),
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

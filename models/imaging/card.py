"""The model card: what a version is for, what it says, on what evidence, and where it comes from.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019).
"""

from collections.abc import Mapping
from typing import Any

from models.artifacts import ModelSpec
from models.imaging.html import Html, element, join
from models.imaging.report import Passport, identity, is_drawn, purpose
from models.imaging.report_judgement import answer
from models.imaging.report_labels import threshold
from models.imaging.report_page import facts, mark, page, section, table, tree
from models.imaging.report_together import beyond_section
from models.imaging.report_words import EVIDENCE, area, listed

Metrics = Mapping[str, Any]


def render_card(spec: ModelSpec, metrics: Metrics, passport: Passport) -> str:
    """The card as one HTML document (see `models.imaging.report` for the arguments)."""
    return page(
        f"{passport.title}: model card",
        element("h1", passport.title),
        element("p", "Model card", class_="kind"),
        element("p", _sentence(spec), class_="answer"),
        purpose(spec),
        _labels(spec),
        _measured(spec, metrics),
        beyond_section(metrics.get("beyond")),
        _thresholds(spec),
        _calibration(spec),
        _input(spec),
        _origin(spec, passport),
        identity(spec, passport),
    )


def _sentence(spec: ModelSpec) -> str:
    names = listed(list(spec.label_names))
    real = [label.name for label in spec.labels if label.evidence == "real"]
    return f"Looks for {names} in single frames; measured on real frames: {listed(real) if real else 'none'}."


def _labels(spec: ModelSpec) -> Html:
    rows = [
        [
            join(mark(label.name), label.name),
            label.meaning,
            f"{label.code} ({label.code_scheme})",
            EVIDENCE[label.evidence],
        ]
        for label in spec.labels
    ]
    return section("Labels", table(("label", "meaning", "code", "evidence"), rows, numbers=frozenset()))


def _measured(spec: ModelSpec, metrics: Metrics) -> Html:
    found = metrics.get("labels") or {}
    rows = [
        [
            join(mark(label.name), label.name),
            area(found.get(label.name, {}).get("auc")),
            EVIDENCE[label.evidence],
            _frames(found.get(label.name)),
        ]
        for label in spec.labels
    ]
    return section(
        "What was measured",
        element("p", answer(metrics, drawn=is_drawn(spec))),
        table(
            ("label", "AUC (95 % interval)", "evidence", "positive frames"), rows, numbers=frozenset({1, 3})
        ),
    )


def _frames(entry: Metrics | None) -> str | None:
    return None if entry is None else f"{entry['positives']:,} of {entry['known']:,}"


def _thresholds(spec: ModelSpec) -> Html:
    points = list(spec.operating_points)
    rows = [
        [label, *(threshold(spec.operating_points[point][label]) for point in points)]
        for label in spec.label_names
    ]
    return section(
        "Thresholds",
        element(
            "p",
            f"A frame is called positive from this probability on. Default: {spec.default_operating_point}.",
        ),
        table(("label", *points), rows, numbers=frozenset(range(1, len(points) + 1))),
    )


def _calibration(spec: ModelSpec) -> Html:
    rows = [
        [name, f"{spec.calibration[name].slope:.3g}", f"{spec.calibration[name].intercept:.3g}"]
        for name in spec.label_names
    ]
    return section(
        "Calibration",
        element(
            "p",
            "probability = sigmoid(slope × score + intercept); slope 1 and intercept 0 mean: not calibrated.",
        ),
        table(("label", "slope", "intercept"), rows, numbers=frozenset({1, 2})),
    )


def _input(spec: ModelSpec) -> Html:
    taken = spec.input
    return section(
        "Input",
        facts(
            {
                "Frames": f"{taken.size_px} × {taken.size_px} px, {taken.channels} channels, bytes",
                "Resized by": element("code", taken.resize_kernel),
                "Mean": ", ".join(f"{value:g}" for value in taken.mean),
                "Spread": ", ".join(f"{value:g}" for value in taken.std),
            }
        ),
    )


def _origin(spec: ModelSpec, passport: Passport) -> Html:
    return section(
        "Origin",
        facts({"Trained on": passport.dataset, "Its fingerprint": element("code", spec.dataset_fingerprint)}),
        element("h3", "Built by"),
        tree({"builder": spec.builder.name, **spec.builder.params}),
    )

"""What was measured of all labels together, and beside the measures that every version has."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.decisions import MEAN_DECISION_METRICS
from models.imaging.html import Html, element, join
from models.imaging.report_page import facts, section, table, tree
from models.imaging.report_words import NOT_MEASURED, area, measure_name, two_digits

Metrics = Mapping[str, Any]


def point_means(points: Metrics | None) -> Html | None:
    """Macro-F1, mean MCC and mean balanced accuracy of each operating point."""
    if not points:
        return None
    columns = ("operating point", *(measure_name(name) for name in MEAN_DECISION_METRICS))
    rows = [
        [point, *(area(values.get(name)) for name in MEAN_DECISION_METRICS)]
        for point, values in points.items()
    ]
    return join(
        element("h3", "Decisions, all labels together"),
        table(columns, rows, numbers=frozenset(range(1, len(columns)))),
        element(
            "p",
            "Means over the labels on which they are defined; a label that is off counts as never found. "
            "In parentheses: 95 % interval over groups.",
            class_="quiet small",
        ),
    )


def class_section(classes: Metrics | None) -> Html | None:
    """Of classes of which exactly one is right: how often it was, and what was answered instead."""
    if not classes:
        return None
    found = {measure_name(name): area(value) or NOT_MEASURED for name, value in classes["metrics"].items()}
    error = two_digits(classes.get("calibration_error")) or NOT_MEASURED
    return section(
        "Classes, one of which is right",
        facts(found | {"calibration error of the answer": error}),
        element("h3", "Which class was answered"),
        _confusion(classes["names"], classes["confusion"]),
        element("p", "Frames; rows: what is so, columns: what was answered.", class_="quiet small"),
    )


def _confusion(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Html:
    rows = [[name, *(f"{count:,}" for count in row)] for name, row in zip(names, counts, strict=True)]
    return table(("", *names), rows, numbers=frozenset(range(1, len(names) + 1)))


def beyond_section(beyond: Metrics | None) -> Html | None:
    """Measurements that a version has beside those of every version."""
    return None if not beyond else section("Measured beside", tree(beyond))

"""Metrics as recipes leave them, and a reader of the pages that are made of them."""

from html.parser import HTMLParser

import numpy as np

from models.imaging.leak_sides import Side
from models.imaging.leaks import check_leaks
from models.imaging.report import Passport

PASSPORT = Passport(
    "lesion-detector", 3, "ab" * 32, 22_000_000, "2026-11-24 12:00 UTC", "clinic-a, version 1"
)
VOID = {"meta"}


def estimate(value: float, low: float | None = None, high: float | None = None) -> dict:
    return {"value": value, "low": low, "high": high, "replicates": 1000}


def label_metrics(auc: float | None = 0.9, **changes) -> dict:
    def measured(value: float) -> dict | None:
        return None if auc is None else estimate(value, value - 0.05, min(1.0, value + 0.05))

    return {
        "auc": measured(auc or 0.0),
        "average_precision": measured(0.6),
        **{f"sensitivity_at_{bar}_specificity": measured(0.5) for bar in (80, 90, 95)},
        "brier": 0.1,
        "calibration_error": 0.04,
        "known": 60,
        "positives": 15,
        "prevalence": 0.25,
        "operating_points": {"balanced": {"threshold": 0.5, "sensitivity": estimate(0.8, 0.7, 0.9)}},
        "not_measured": [] if auc is not None else ["auc"],
        "pointing": None,
    } | changes


CURVES = {
    "roc": {"false_positive_rate": [0.0, 0.2, 1.0], "sensitivity": [0.0, 0.9, 1.0]},
    "precision_recall": {"recall": [0.0, 0.5, 1.0], "precision": [1.0, 0.8, 0.25]},
    "reliability": [
        {"low": 0.0, "high": 0.5, "count": 40, "mean_probability": 0.2, "frequency": 0.1},
        {"low": 0.5, "high": 1.0, "count": 0, "mean_probability": None, "frequency": None},
    ],
}
MAP = {
    "pointing": {"hits": 9, "n": 15, "rate": 0.6, "lesion_share": 0.05},
    "overlap": {"value": 0.3, "low": 0.2, "high": 0.4},
    "random_weights": {"pointing": {"rate": 0.07}, "overlap": {"value": 0.04}},
}


def metrics(**labels) -> dict:
    return {
        "frames": 60,
        "groups": 8,
        "mean_auc": 0.9,
        "labels": labels,
        "colour_baseline": {name: estimate(0.6, 0.5, 0.7) for name in labels},
    }


class WellFormed(HTMLParser):
    """Complains of elements that are not closed in the order in which they were opened."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(page: str) -> WellFormed:
    parser = WellFormed()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def text_of(page: str) -> str:
    return " ".join(" ".join(read(page).words).split())


def side(*groups: str, hashes: list[str] | None = None, **given) -> Side:
    return Side(np.array(groups), hashes_N=None if hashes is None else np.array(hashes), **given)


def leaky() -> dict:
    return check_leaks(side("a", "b", "c"), side("a", "b", "b", "d"))

"""Curves with few points still are the curves."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.curves import MAX_POINTS, curves
from models.metrics import auc, expected_calibration_error

samples = st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(0, 8)), min_size=1, max_size=40)


def drawn(count, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 2, count)
    scores = rng.normal(size=count) + (labels == 1)
    return labels, scores, 1 / (1 + np.exp(-scores))


def test_many_frames_give_few_points_and_the_same_area():
    labels, scores, probabilities = drawn(6000)
    found = curves(labels, scores, probabilities)["roc"]
    alarms, sensitivity = np.array(found["false_positive_rate"]), np.array(found["sensitivity"])
    assert len(alarms) == len(sensitivity) <= MAX_POINTS
    assert (alarms[0], sensitivity[0], alarms[-1], sensitivity[-1]) == (0, 0, 1, 1)
    assert (np.diff(alarms) >= 0).all()
    assert (np.diff(sensitivity) >= 0).all()
    assert np.trapezoid(sensitivity, alarms) == pytest.approx(auc(labels, scores), abs=2e-3)


@given(samples)
def test_every_point_is_one_that_a_threshold_gives(rows):
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    found = curves(labels, scores, scores / 8)
    if auc(labels, scores) is None:
        assert found["roc"] is None
        assert found["precision_recall"] is None
        return
    positive, negative = scores[labels == 1], scores[labels == 0]
    alarms, precisions = {(0.0, 0.0)}, set()
    for threshold in scores[labels >= 0]:
        hits, false = (positive >= threshold).sum(), (negative >= threshold).sum()
        alarms.add((round(false / len(negative), 5), round(hits / len(positive), 5)))
        precisions.add((round(hits / len(positive), 5), round(hits / (hits + false), 5)))
    roc, precision_recall = found["roc"], found["precision_recall"]
    assert set(zip(roc["false_positive_rate"], roc["sensitivity"], strict=True)) == alarms
    assert set(zip(precision_recall["recall"], precision_recall["precision"], strict=True)) <= precisions
    assert precision_recall["recall"][-1] == 1


def test_reliability_bins_add_up_to_the_calibration_error():
    labels, scores, probabilities = drawn(500)
    bins = curves(labels, scores, probabilities * 0.5)["reliability"]
    assert sum(entry["count"] for entry in bins) == (labels >= 0).sum()
    assert (bins[0]["low"], bins[-1]["high"]) == (0, 1)
    assert bins[-1] == {"low": 0.93333, "high": 1, "count": 0, "mean_probability": None, "frequency": None}
    filled = [entry for entry in bins if entry["count"]]
    gap = sum(entry["count"] * abs(entry["mean_probability"] - entry["frequency"]) for entry in filled)
    expected = expected_calibration_error(labels, probabilities * 0.5)
    assert gap / (labels >= 0).sum() == pytest.approx(expected, abs=1e-4)
    assert all(entry["low"] <= entry["mean_probability"] <= entry["high"] for entry in filled)


def test_nothing_known_gives_nothing_and_all_is_json():
    nothing = curves(np.array([-1, -1]), np.array([0.1, 0.2]), np.array([0.1, 0.2]))
    assert nothing == {"roc": None, "precision_recall": None, "reliability": None}
    found = curves(*drawn(50))
    assert json.loads(json.dumps(found, allow_nan=False)) == found

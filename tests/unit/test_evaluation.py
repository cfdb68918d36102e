"""What an evaluation reports of a detector, label by label and over all of them."""

import json

import numpy as np
import pytest

from models.decisions import decision_metrics
from models.imaging.evaluation import measure
from models.imaging.predictor import Predictions

POINTS = {"balanced": {"polyp": 0.5, "blood": 0.4}, "sensitive": {"polyp": 0.3, "blood": 0.35}}


@pytest.fixture(scope="module")
def judged():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, (120, 2)).astype(np.int8)
    scores = (rng.normal(size=(120, 2)) + (labels == 1)).astype(np.float32)
    probabilities = 1 / (1 + np.exp(-scores))
    nothing = np.zeros((120, 2, 1, 1), np.float32)
    positive, embedding = probabilities >= 0.5, nothing[:, :, 0, 0]
    return labels, Predictions(
        ("polyp", "blood"), scores, probabilities, positive, nothing, embedding, "-", "torch", "float32"
    )


@pytest.fixture(scope="module")
def metrics(judged):
    labels, predictions = judged
    return measure(predictions, labels, np.arange(120) // 10, operating_points=POINTS, seed=0)


def test_every_operating_point_has_f1_and_mcc_with_intervals(metrics, judged):
    labels, predictions = judged
    for point, limits in POINTS.items():
        found = metrics["labels"]["blood"]["operating_points"][point]
        said = predictions.probabilities_BK[:, 1] >= limits["blood"]
        expected = decision_metrics(labels[:, 1], said, np.arange(120))
        for name in ("f1", "mcc", "balanced_accuracy"):
            assert found[name]["value"] == pytest.approx(expected[name].value)
            assert found[name]["low"] < found[name]["value"] < found[name]["high"]


def test_the_means_over_labels_are_those_of_the_labels(metrics):
    for point, means in metrics["operating_points"].items():
        for mean, name in (
            ("macro_f1", "f1"),
            ("mean_mcc", "mcc"),
            ("mean_balanced_accuracy", "balanced_accuracy"),
        ):
            single = [entry["operating_points"][point][name]["value"] for entry in metrics["labels"].values()]
            assert means[mean]["value"] == pytest.approx(np.mean(single))


def test_each_label_has_its_curves_and_all_is_json(metrics):
    assert set(metrics["labels"]["polyp"]["curves"]) == {"roc", "precision_recall", "reliability"}
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_a_label_that_is_unknown_everywhere_is_not_measured(judged):
    labels, predictions = judged
    unknown = np.stack([labels[:, 0], np.full(120, -1)], axis=1)
    found = measure(predictions, unknown, np.arange(120), operating_points=POINTS, seed=0)
    blood = found["labels"]["blood"]
    assert blood["curves"] == {"roc": None, "precision_recall": None, "reliability": None}
    assert {"auc", "brier", "calibration_error"} <= set(blood["not_measured"])
    assert blood["operating_points"]["balanced"]["f1"] is None
    polyp = found["labels"]["polyp"]["operating_points"]["balanced"]["f1"]["value"]
    assert found["operating_points"]["balanced"]["macro_f1"]["value"] == pytest.approx(polyp)

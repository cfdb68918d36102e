"""Against scikit-learn's figures, and by hand where it has none."""

import numpy as np
import pytest
from sklearn import metrics

from models.imaging.classifier_metrics import confusion_matrix, confusion_metrics, multiclass_metrics
from models.imaging.classifier_spec import fit_slope


def drawn(count=300, classes=6, seed=0):
    rng = np.random.default_rng(seed)
    class_N = rng.integers(0, classes, count)
    scores = rng.normal(size=(count, classes)) + 1.2 * np.eye(classes)[class_N]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return class_N, probabilities, rng.integers(0, 20, count).astype(str)


def test_they_are_scikit_learns():
    class_N, probabilities, groups = drawn()
    found = multiclass_metrics(class_N, probabilities, groups, replicates=50)
    answer = probabilities.argmax(axis=1)
    expected = {
        "accuracy": metrics.accuracy_score(class_N, answer),
        "balanced_accuracy": metrics.balanced_accuracy_score(class_N, answer),
        "macro_f1": metrics.f1_score(class_N, answer, average="macro"),
        "mcc": metrics.matthews_corrcoef(class_N, answer),
        "top_2_accuracy": metrics.top_k_accuracy_score(class_N, probabilities, k=2),
        "top_3_accuracy": metrics.top_k_accuracy_score(class_N, probabilities, k=3),
        "mean_auc": metrics.roc_auc_score(class_N, probabilities, multi_class="ovr"),
    }
    assert {name: value.value for name, value in found.items()} == pytest.approx(expected)
    for value in found.values():
        assert value.low < value.value < value.high
        assert value.replicates == 50


def test_the_interval_is_over_groups():
    """Each group is all right or all wrong: drawn by group the accuracy spreads as four coins do."""
    class_N = np.tile([0, 1], 200)
    groups = np.repeat(["a", "b", "c", "d"], 100)
    right = np.isin(groups, ["a", "b"])
    probabilities = np.eye(2)[np.where(right, class_N, 1 - class_N)]
    accuracy = multiclass_metrics(class_N, probabilities, groups)["accuracy"]
    assert (accuracy.value, accuracy.low, accuracy.high) == (0.5, 0.0, 1.0)


def test_one_group_has_no_interval_and_one_class_no_area():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6]])
    found = multiclass_metrics(np.array([0, 0]), probabilities, np.array(["a", "a"]))
    assert found["mean_auc"] is None
    assert found["accuracy"].value == 0.5
    assert found["accuracy"].low is None
    assert found["balanced_accuracy"].value == 0.5


def test_the_confusion_matrix_has_the_truth_in_its_rows():
    matrix = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_answering_one_class_only_correlates_with_nothing():
    found = confusion_metrics(np.array([[[5.0, 0], [3, 0]]]))
    assert found["mcc"].tolist() == [0.0]
    assert found["macro_f1"][0] == pytest.approx((2 * 5 / 13) / 2)


def test_a_temperature_undoes_overconfidence():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 4))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    class_N = (probabilities.cumsum(axis=1) > rng.random((len(scores), 1))).argmax(axis=1)
    assert fit_slope(class_N, (5 * scores).astype(np.float32)) == pytest.approx(0.2, rel=0.05)


def test_scores_without_an_error_keep_a_finite_temperature():
    scores = np.eye(3, dtype=np.float32)[[0, 1, 2] * 10]
    assert 1 < fit_slope(np.array([0, 1, 2] * 10), scores) < 20

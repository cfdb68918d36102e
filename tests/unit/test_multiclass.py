"""Metrics of several classes against slow ones, scikit-learn's, and the figures of a published challenge."""

import json
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from models.multiclass import confusion_matrix, multiclass_metrics

# Few distinct scores, so that ties are the rule, and few samples, so that classes are missing.
samples = st.lists(
    st.tuples(st.sampled_from([-1, 0, 1, 2]), *[st.integers(0, 3)] * 3, st.integers(0, 2)),
    min_size=1,
    max_size=30,
)


def values(classes, scores, groups=None, **options):
    groups = np.zeros(len(classes)) if groups is None else groups
    found = multiclass_metrics(classes, scores, groups, **options)
    return {name: entry and entry.value for name, entry in found.items()}


def slow(classes, scores):
    """Each metric from its definition, class by class and pair by pair; None where it has none."""
    said = [int(np.flatnonzero(row == row.max())[0]) for row in scores]
    pairs = list(zip(classes.tolist(), said, strict=True))
    recalls, f1s, areas = [], [], []
    for k in range(scores.shape[1]):
        hit = sum(c == k and s == k for c, s in pairs)
        miss = sum(c == k and s != k for c, s in pairs)
        alarm = sum(c != k and s == k for c, s in pairs)
        recalls += [hit / (hit + miss)] if hit + miss else []
        f1s += [2 * hit / (2 * hit + miss + alarm)] if hit + miss + alarm else []
        wins = [
            1.0 if one > other else 0.5 if one == other else 0.0
            for one in scores[classes == k, k]
            for other in scores[classes != k, k]
        ]
        areas += [np.mean(wins)] if wins else []
    return {
        "accuracy": np.mean([c == s for c, s in pairs]),
        "balanced_accuracy": np.mean(recalls),
        "macro_f1": np.mean(f1s),
        "mcc": sklearn_metrics.matthews_corrcoef(classes, said) if len(set(classes)) > 1 else None,
        "mean_auc": np.mean(areas) if areas else None,
    }


@given(samples)
def test_they_equal_slow_ones(rows):
    table = np.array(rows)
    classes, scores, groups = table[:, 0], table[:, 1:4] / 3, table[:, 4]
    known = classes >= 0
    found = values(classes, scores, groups, replicates=2)
    if not known.any():
        assert set(found.values()) == {None}
        return
    expected = slow(classes[known], scores[known])
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (None if value is None else pytest.approx(value, abs=1e-9)), name


def test_they_equal_scikit_learns():
    rng = np.random.default_rng(0)
    classes, scores = rng.integers(0, 6, 200), rng.random((200, 6))
    scores /= scores.sum(axis=1, keepdims=True)
    said = scores.argmax(axis=1)
    assert values(classes, scores) == pytest.approx(
        {
            "accuracy": sklearn_metrics.accuracy_score(classes, said),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(classes, said),
            "macro_f1": sklearn_metrics.f1_score(classes, said, average="macro"),
            "mcc": sklearn_metrics.matthews_corrcoef(classes, said),
            "top_2_accuracy": sklearn_metrics.top_k_accuracy_score(classes, scores, k=2),
            "top_3_accuracy": sklearn_metrics.top_k_accuracy_score(classes, scores, k=3),
            "mean_auc": sklearn_metrics.roc_auc_score(classes, scores, multi_class="ovr"),
        }
    )


def test_the_majority_class_alone_has_no_correlation():
    found = values(np.array([0, 0, 1, 2]), np.tile([0.7, 0.2, 0.1], (4, 1)))
    assert found["mcc"] == 0
    assert found["mean_auc"] == 0.5
    assert found["balanced_accuracy"] == pytest.approx(1 / 3)


def test_intervals_are_over_groups():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 25)
    classes = rng.integers(0, 3, 200)
    scores = np.eye(3)[classes] * rng.uniform(0, 2, 8)[groups][:, None] + rng.random((200, 3))
    by_group = multiclass_metrics(classes, scores, groups, replicates=300)
    by_frame = multiclass_metrics(classes, scores, np.arange(200), replicates=300)
    for name, entry in by_group.items():
        assert entry.low < entry.value < entry.high
        assert entry.high - entry.low > 1.3 * (by_frame[name].high - by_frame[name].low), name


def test_one_group_has_no_interval_and_one_class_no_area():
    found = multiclass_metrics(np.array([0, 0]), np.array([[0.9, 0.1], [0.4, 0.6]]), np.array(["a", "a"]))
    assert found["mean_auc"] is None
    assert found["mcc"] is None
    assert found["accuracy"].value == found["balanced_accuracy"].value == 0.5
    assert found["accuracy"].low is None


def test_a_class_that_was_not_drawn_does_not_count_in_that_replicate():
    found = multiclass_metrics(np.array([0, 1]), np.eye(2), np.array(["a", "b"]), replicates=100)
    assert found["balanced_accuracy"].low == found["macro_f1"].low == 1
    assert found["balanced_accuracy"].replicates == 100
    assert found["mcc"].replicates == found["mean_auc"].replicates < 100


def test_the_first_of_equally_likely_classes_count_for_the_top_too():
    found = values(np.array([0, 1, 1, 2, 3]), np.full((5, 4), 0.25))
    assert (found["accuracy"], found["top_2_accuracy"]) == (0.2, 0.6)


def test_the_confusion_matrix_has_the_truth_in_its_rows():
    matrix = confusion_matrix(np.array([0, 0, 1, 2, -1]), np.array([0, 1, 1, 1, 2]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_scores_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        values(np.array([0, 1]), np.array([[0.1, 0.2], [np.nan, 0.1]]))


def read_sheet(path):
    """Classes from the image paths and probabilities from the sheet, through its XML."""
    text = zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml").decode()
    rows = [re.findall(r"<(?:t|v)>([^<]*)</", row) for row in text.split("<row ")[1:]]
    names = rows[0][2:]
    classes = np.array([names.index(row[0].split("\\")[1]) for row in rows[1:]])
    return classes, np.array([[float(cell) for cell in row[2:]] for row in rows[1:]])


@pytest.mark.parametrize("team", ["CapsuleNet", "MedInfoLabFinal", "aiVengers"])
def test_the_organisers_figures_are_reproduced(team, data_dir):
    sheet = data_dir("capsule-vision") / f"{team}_predicted_val_dataset.xlsx"
    published = json.loads(sheet.with_name(f"{sheet.stem}_metrics.json").read_text())
    classes, scores = read_sheet(sheet)
    assert len(classes) == 16_132
    found = values(classes, scores)
    for ours, theirs in (
        ("mean_auc", "mean_auc"),
        ("balanced_accuracy", "balanced_accuracy"),
        ("macro_f1", "avg_f1"),
    ):
        assert found[ours] == pytest.approx(published[theirs], abs=5e-5), ours

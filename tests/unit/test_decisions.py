"""Metrics of yes/no decisions against slow ones and scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from models.decisions import MEAN_DECISION_METRICS, decision_metrics, mean_decision_metrics

decided = st.lists(
    st.tuples(st.sampled_from([-1, 0, 1]), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40
)


def columns(rows):
    labels, said, groups = zip(*rows, strict=True)
    return np.array(labels, np.int8), np.array(said), np.array(groups)


def values(found):
    return {name: entry and entry.value for name, entry in found.items()}


def test_decisions_are_counted():
    labels = np.array([1, 1, 1, 0, 0, -1, 0, 0])
    said = np.array([1, 1, 0, 1, 0, 1, 0, 0], bool)
    found = decision_metrics(labels, said, np.arange(8))
    assert values(found) == pytest.approx(
        {
            "sensitivity": 2 / 3,
            "specificity": 3 / 4,
            "balanced_accuracy": (2 / 3 + 3 / 4) / 2,
            "positive_predictive_value": 2 / 3,
            "negative_predictive_value": 3 / 4,
            "f1": 2 / 3,
            "mcc": (2 * 3 - 1 * 1) / np.sqrt(3 * 4 * 3 * 4),
        }
    )
    for name in ("sensitivity", "f1", "mcc"):
        assert found[name].low < found[name].value < found[name].high


@given(decided)
def test_f1_and_mcc_equal_scikit_learns(rows):
    labels, said, groups = columns(rows)
    known = labels >= 0
    found = values(decision_metrics(labels, said, groups, replicates=3))
    if (labels == 1).any():
        assert found["f1"] == pytest.approx(sklearn_metrics.f1_score(labels[known], said[known]))
    else:
        assert found["f1"] is None
    if (labels == 1).any() and (labels == 0).any():
        expected = sklearn_metrics.matthews_corrcoef(labels[known], said[known])
        assert found["mcc"] == pytest.approx(expected, abs=1e-12)
    else:
        assert found["mcc"] is None


@given(decided, st.integers(0, 2**32 - 1))
def test_a_replicate_counts_each_group_as_often_as_it_was_drawn(rows, seed):
    labels, said, groups = columns(rows)
    names = np.unique(groups)
    if len(names) < 2:
        return
    found = decision_metrics(labels, said, groups, replicates=1, seed=seed)["sensitivity"]
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=1)[0]
    times = drawn[np.searchsorted(names, groups)]
    positives = (times * (labels == 1)).sum()
    if found is None or positives == 0:
        return
    assert found.low == found.high == pytest.approx((times * ((labels == 1) & said)).sum() / positives)


def test_rates_without_a_denominator_are_not_defined():
    found = decision_metrics(np.array([0, 0]), np.array([False, False]), np.arange(2))
    assert found["sensitivity"] is None
    assert found["positive_predictive_value"] is None
    assert found["f1"] is None
    assert found["mcc"] is None
    assert found["specificity"].value == 1


def test_decisions_that_are_all_alike_have_no_correlation():
    found = decision_metrics(np.array([0, 1, 1]), np.array([True, True, True]), np.arange(3))
    assert found["mcc"].value == 0


def test_means_are_those_of_the_labels_on_which_a_metric_is_defined():
    rng = np.random.default_rng(0)
    labels, said, groups = rng.integers(-1, 2, (60, 3)), rng.random((60, 3)) < 0.5, rng.integers(0, 6, 60)
    labels[:, 2] = np.where(labels[:, 2] == 1, -1, labels[:, 2])  # no positive: neither F1 nor MCC
    found = mean_decision_metrics(labels, said, groups, replicates=200)
    single = [decision_metrics(labels[:, k], said[:, k], groups) for k in range(3)]
    for mean, name in MEAN_DECISION_METRICS.items():
        defined = [entry[name].value for entry in single if entry[name] is not None]
        assert len(defined) == 2
        assert found[mean].value == pytest.approx(np.mean(defined))
        assert found[mean].low < found[mean].value < found[mean].high


def test_no_label_at_all_has_no_mean():
    found = mean_decision_metrics(np.full((4, 2), -1), np.zeros((4, 2), bool), np.arange(4))
    assert set(found.values()) == {None}

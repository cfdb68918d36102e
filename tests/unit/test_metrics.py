import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from models.metrics import (
    RANKING_METRICS,
    Ranking,
    auc,
    brier_score,
    expected_calibration_error,
    group_weights,
    ranking_metrics,
)

# Few distinct scores, so that ties are the rule.
samples = st.lists(
    st.tuples(st.sampled_from([-1, 0, 1]), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=40
)


def columns(rows):
    labels, scores, groups = zip(*rows, strict=True)
    return np.array(labels, np.int8), np.array(scores) / 5, np.array(groups)


def slow_auc(labels, scores):
    pairs = [(p, n) for p in scores[labels == 1] for n in scores[labels == 0]]
    return np.mean([1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs]) if pairs else None


def slow_sensitivity(labels, scores, specificity):
    best = 0.0
    for threshold in scores:
        said = scores >= threshold
        if np.mean(~said[labels == 0]) >= specificity - 1e-12:
            best = max(best, np.mean(said[labels == 1]))
    return best


def approximately(value):
    return None if value is None else pytest.approx(value, abs=1e-9)


@given(samples)
def test_auc_counts_pairs_and_skips_unknown_labels(rows):
    labels, scores, _ = columns(rows)
    assert auc(labels, scores) == approximately(slow_auc(labels, scores))


@given(samples)
def test_ranking_metrics_equal_slow_ones(rows):
    labels, scores, groups = columns(rows)
    known = labels >= 0
    found = ranking_metrics(labels, scores, groups, replicates=3)
    if len(np.unique(labels[known])) < 2:
        assert set(found.values()) == {None}
        return
    expected = sklearn_metrics.average_precision_score(labels[known], scores[known])
    assert found["average_precision"].value == pytest.approx(expected)
    for percent in (80, 90, 95):
        slow = slow_sensitivity(labels[known], scores[known], percent / 100)
        assert found[f"sensitivity_at_{percent}_specificity"].value == pytest.approx(slow)


@given(samples, st.integers(0, 2**32 - 1))
def test_a_replicate_equals_the_metric_of_the_repeated_samples(rows, seed):
    labels, scores, _ = columns(rows)
    times = np.random.default_rng(seed).integers(0, 4, len(labels))
    ranking = Ranking(labels, scores)
    if not ranking.has_both_classes:
        return
    curve = ranking.curve(times[None].astype(float))
    repeated_labels, repeated_scores = np.repeat(labels, times), np.repeat(scores, times)
    repeated = Ranking(repeated_labels, repeated_scores)
    for metric in RANKING_METRICS.values():
        found = metric(curve)[0]
        if repeated.has_both_classes:
            whole = repeated.curve(np.ones((1, len(repeated_labels))))
            assert found == pytest.approx(metric(whole)[0])


def test_group_weights_draw_whole_groups():
    groups = np.array(["a", "b", "b", "c", "a"])
    weights = np.concatenate(list(group_weights(groups, replicates=50, seed=1)))
    assert weights.shape == (50, 5)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 4])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 2])
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert len(np.unique(weights, axis=0)) > 5


def test_intervals_are_wider_between_groups_than_between_frames():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 40)
    labels = rng.integers(0, 2, 400)
    scores = labels * rng.normal(1, 1.5, 10)[groups] + rng.normal(size=400)
    by_group = ranking_metrics(labels, scores, groups)["auc"]
    by_frame = ranking_metrics(labels, scores, np.arange(400))["auc"]
    assert by_group.low < by_group.value < by_group.high
    assert by_group.high - by_group.low > 1.5 * (by_frame.high - by_frame.low)


def test_one_group_gives_a_value_without_an_interval():
    found = ranking_metrics(np.array([0, 1, 1]), np.array([0.1, 0.2, 0.05]), np.zeros(3))["auc"]
    assert (found.value, found.low, found.high) == (0.5, None, None)


@pytest.mark.parametrize("labels", [[1, 1], [0, 0], [-1, -1], [1, -1]])
def test_a_single_class_has_no_ranking(labels):
    assert auc(np.array(labels), np.array([0.1, 0.9])) is None


def test_scores_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        auc(np.array([0, 1]), np.array([0.1, np.nan]))


@given(st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.floats(0, 1)), min_size=1, max_size=60))
def test_calibration_errors_equal_slow_ones(rows):
    labels, probabilities = (np.array(column) for column in zip(*rows, strict=True))
    known = [(y, p) for y, p in rows if y >= 0]
    if not known:
        assert brier_score(labels, probabilities) is None
        assert expected_calibration_error(labels, probabilities) is None
        return
    assert brier_score(labels, probabilities) == pytest.approx(np.mean([(p - y) ** 2 for y, p in known]))
    gap = 0.0
    for index in range(15):
        inside = [(y, p) for y, p in known if min(int(p * 15), 14) == index]
        gap += abs(sum(p for _, p in inside) - sum(y for y, _ in inside)) / len(known)
    assert expected_calibration_error(labels, probabilities) == pytest.approx(gap, abs=1e-12)


def test_a_calibrated_score_has_no_calibration_error():
    probabilities = np.repeat([0.2, 0.5], [10, 10])
    labels = np.array([1, 1] + [0] * 8 + [1] * 5 + [0] * 5)
    assert expected_calibration_error(labels, probabilities) == pytest.approx(0, abs=1e-12)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from models.artifacts import Calibration
from models.imaging.calibration import calibrated, choose_thresholds, fit_calibration
from models.metrics import expected_calibration_error


def overconfident(count=4000, factor=3.0):
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 1.5, count)
    labels = (rng.random(count) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    return labels, (factor * logits + 2).astype(np.float32)


def test_the_fit_undoes_an_overconfident_shift():
    labels, scores = overconfident()
    fitted = fit_calibration(labels, scores)
    assert fitted.slope == pytest.approx(1 / 3, rel=0.1)
    assert fitted.intercept == pytest.approx(-2 / 3, abs=0.1)
    before = expected_calibration_error(labels, calibrated(scores, Calibration()))
    after = expected_calibration_error(labels, calibrated(scores, fitted))
    assert after < 0.03 < 0.1 < before


def test_the_fit_is_logistic_regression_on_many_samples():
    labels, scores = overconfident()
    reference = LogisticRegression(C=1e10).fit(scores[:, None], labels)
    fitted = fit_calibration(labels, scores)
    assert fitted.slope == pytest.approx(reference.coef_[0, 0], rel=0.01)
    assert fitted.intercept == pytest.approx(reference.intercept_[0], rel=0.02)


def test_a_temperature_undoes_overconfidence_and_keeps_one_half():
    labels, scores = overconfident()
    scores -= 2
    fitted = fit_calibration(labels, scores, method="temperature")
    reference = LogisticRegression(C=1e10, fit_intercept=False).fit(scores[:, None], labels)
    assert fitted.slope == pytest.approx(reference.coef_[0, 0], rel=0.01)
    assert fitted.slope == pytest.approx(1 / 3, rel=0.1)
    assert calibrated(np.array([0.0]), fitted) == 0.5


def test_unknown_labels_do_not_count():
    labels, scores = overconfident()
    more = fit_calibration(np.append(labels, [-1, -1]), np.append(scores, [1e3, -1e3]))
    assert more == fit_calibration(labels, scores)


def test_separable_scores_have_a_finite_slope():
    fitted = fit_calibration(np.array([0, 0, 1, 1]), np.array([-50.0, -40.0, 40.0, 50.0]))
    assert 0 < fitted.slope < 1


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([1, 1], [0.1, 0.2]), ([-1, 0], [0.1, 0.2]), ([0, 0, 1, 1], [2.0, 1.0, -1.0, -2.0]), ([], [])],
)
def test_nothing_is_fitted_where_nothing_can_be(labels, scores):
    assert fit_calibration(np.array(labels), np.array(scores)) is None


rows = st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(0, 10)), min_size=1, max_size=40)


def rates(labels, probabilities, threshold):
    said = probabilities >= threshold
    return said[labels == 1].mean(), (~said[labels == 0]).mean()


@given(rows)
def test_operating_points_are_the_best_of_all_thresholds(samples):
    labels, levels = (np.array(column) for column in zip(*samples, strict=True))
    probabilities = levels / 10
    found = choose_thresholds(labels, probabilities)
    if not ((labels == 1).any() and (labels == 0).any()):
        assert found is None
        return
    every = [rates(labels, probabilities, threshold) for threshold in np.arange(-0.05, 1.1, 0.05)]
    sensitivity, specificity = rates(labels, probabilities, found["balanced"])
    # At 1.0 a frame of probability 1 is still positive, so "nothing is" may be out of reach.
    assert sensitivity + specificity >= max(sum(pair) for pair in every) - 1e-9
    sensitivity, specificity = rates(labels, probabilities, found["sensitive"])
    assert sensitivity >= 0.9
    if found["sensitive"] < found["balanced"]:
        assert specificity >= max(b for a, b in every if a >= 0.9) - 1e-9
    sensitivity, specificity = rates(labels, probabilities, found["specific"])
    if found["specific"] > found["balanced"]:
        reachable = [a for a, b in every if b >= 0.9 and a > 0]
        assert sensitivity >= max(reachable, default=0) - 1e-9


@given(rows)
def test_sensitive_never_finds_less_than_balanced_nor_specific_more(samples):
    labels, levels = (np.array(column) for column in zip(*samples, strict=True))
    found = choose_thresholds(labels, levels / 10)
    if found is not None:
        assert found["sensitive"] <= found["balanced"] <= found["specific"]


def test_where_the_criteria_cross_the_points_stay_at_balanced():
    """Separable: sensitivity 0.9 is reached far above, and specificity 0.9 far below, the best threshold."""
    labels = np.repeat([0, 1], 20)
    found = choose_thresholds(labels, np.linspace(0, 1, 40))
    assert found["sensitive"] == found["balanced"] == found["specific"]

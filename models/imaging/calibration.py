"""From scores to probabilities, and from probabilities to decisions; both are chosen on the tune split.

Platt, "Probabilistic outputs for support vector machines" (1999), with its smoothed targets, fitted by
Newton's method as in Lin, Lin, Weng (2007); or its slope alone, the temperature of Guo et al. (2017).
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.artifacts import Calibration

Float = npt.NDArray[np.floating]
OFF = 1.0  # a threshold that turns its label off, whatever the probability
_SENSITIVE = 0.90
_SPECIFIC = 0.90
Method = Literal["platt", "temperature"]
OPERATING_POINTS = ("balanced", "sensitive", "specific")
DEFAULT_OPERATING_POINT = "balanced"


def fit_calibration(
    labels_N: npt.NDArray[np.integer], scores_N: Float, *, method: Method = "platt"
) -> Calibration | None:
    """Platt or temperature scaling of one label.

    Args:
        labels_N: 1, 0 or -1 for unknown.
        scores_N: raw scores (logits).
        method: "platt" fits slope and intercept. "temperature" fits the slope, 1 / temperature, and keeps the
            intercept 0: a score of 0 stays a probability of one half.

    Returns:
        The calibration; None where it cannot be fitted: one class only, or scores that do not rank the
        positives higher (a falling curve would turn the model's order around).
    """
    known = labels_N >= 0
    positive, scores = labels_N[known] == 1, scores_N[known].astype(np.float64)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if positives == 0 or negatives == 0:
        return None
    # Platt's targets: a Bayes estimate in place of 0 and 1, so that separable scores have a finite slope.
    targets = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    if method == "temperature":
        (slope,), intercept = _newton(scores[:, None], targets), 0.0
    else:
        slope, intercept = _newton(np.stack([scores, np.ones_like(scores)], axis=1), targets)
    return Calibration(slope, intercept) if slope > 1e-6 else None


def calibrated(scores: Float, calibration: Calibration) -> npt.NDArray[np.float64]:
    """Probabilities in 0..1 for scores of any shape."""
    return _sigmoid(calibration.slope * scores.astype(np.float64) + calibration.intercept)


def choose_thresholds(labels_N: npt.NDArray[np.integer], probabilities_N: Float) -> dict[str, float] | None:
    """Thresholds of one label by operating point; "positive" means probability >= threshold.

    "balanced" has the greatest Youden index; "sensitive" is the most specific with sensitivity >= 0.9, and
    "specific" the most sensitive with specificity >= 0.9. Of a good detector these two would cross: then they
    stay at "balanced", so that "sensitive" never finds less than it, nor "specific" more.

    Args:
        labels_N: 1, 0 or -1 for unknown.
        probabilities_N: calibrated.

    Returns:
        Thresholds halfway between two probabilities that were seen; None if only one class is known.
    """
    known = labels_N >= 0
    positive, probabilities = labels_N[known] == 1, probabilities_N[known].astype(np.float64)
    if positive.all() or not positive.any():
        return None
    candidates = _between(probabilities)
    sensitivity = 1 - _share_below(probabilities[positive], candidates)
    specificity = _share_below(probabilities[~positive], candidates)
    best = {
        point: float(candidates[np.argmax(criterion(sensitivity, specificity))])
        for point, criterion in _CRITERIA.items()
    }
    balanced = best["balanced"]
    return best | {
        "sensitive": min(best["sensitive"], balanced),
        "specific": max(best["specific"], balanced),
    }


def decide(probabilities: Float, thresholds: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """What counts as found: a probability from its threshold on, unless the threshold turns the label off.

    Compared in float32, as both are stored.
    """
    limits = np.asarray(thresholds, np.float32)
    return np.asarray((probabilities.astype(np.float32) >= limits) & (limits < OFF))


def _newton(design: npt.NDArray[np.float64], targets: npt.NDArray[np.float64]) -> list[float]:
    """Weights of the columns of `design` [N, D] with the least cross-entropy."""
    weights = np.zeros(design.shape[1])
    loss = _cross_entropy(design @ weights, targets)
    for _ in range(100):
        probability = _sigmoid(design @ weights)
        curvature = probability * (1 - probability) + 1e-12
        gradient = design.T @ (probability - targets)
        step = np.linalg.solve((design.T * curvature) @ design + 1e-10 * np.eye(len(weights)), gradient)
        size = 1.0
        while size > 1e-10 and (new := _cross_entropy(design @ (weights - size * step), targets)) > loss:
            size /= 2
        if size <= 1e-10 or loss - new < 1e-12 * len(targets):
            break
        weights, loss = weights - size * step, new
    return [float(weight) for weight in weights]


def _cross_entropy(logits: npt.NDArray[np.float64], targets: npt.NDArray[np.float64]) -> float:
    return float(np.sum(np.logaddexp(0, logits) - targets * logits))


def _sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(logits / 2))


def _between(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    distinct = np.unique(values)
    return np.concatenate([[0.0], (distinct[1:] + distinct[:-1]) / 2, [1.0]])


def _share_below(values: npt.NDArray[np.float64], limits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.searchsorted(np.sort(values), limits, side="left") / len(values)


def _sensitive(sensitivity: Float, specificity: Float) -> Float:
    return np.where(sensitivity >= _SENSITIVE, specificity, -1)


def _specific(sensitivity: Float, specificity: Float) -> Float:
    return np.where(specificity >= _SPECIFIC, sensitivity, -1)


_CRITERIA: dict[str, Callable[[Float, Float], Float]] = {
    "balanced": lambda sensitivity, specificity: sensitivity + specificity,
    "sensitive": _sensitive,
    "specific": _specific,
}

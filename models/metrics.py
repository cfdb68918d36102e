"""Classification metrics with intervals by group bootstrap.

Scores are sorted once; each bootstrap replicate is a row of weights on that order (how often the frame's
group was drawn), so a thousand replicates cost a few cumulative sums. Labels are 1, 0 or -1 (unknown: left
out). What is not defined, as every ranking of a single class, is None and never NaN.
Shape suffixes: N samples, K labels or classes, G groups, R replicates, T distinct scores in falling
order.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
ECE_BINS = 15
# Replicates are made in slices of about this many weights, to bound the memory.
_SLICE_CELLS = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A value, and its 95 % percentile interval where one could be made (at least two groups)."""

    value: float
    low: float | None
    high: float | None
    replicates: int


@dataclass(frozen=True)
class _Curve:
    """Cumulative true and false positives over falling thresholds, one row per set of weights; totals [R]."""

    true_RT: Array
    false_RT: Array

    @property
    def positives(self) -> Array:
        return self.true_RT[:, -1]

    @property
    def negatives(self) -> Array:
        return self.false_RT[:, -1]


class Ranking:
    """Known samples of one label, sorted by score; every method gives one value per row of weights.

    Args:
        labels_N: 1, 0 or -1 for unknown.
        scores_N: higher means more likely positive; finite.
    """

    def __init__(self, labels_N: npt.NDArray[np.integer], scores_N: npt.NDArray[np.floating]) -> None:
        known = np.flatnonzero(labels_N >= 0)
        if not np.isfinite(scores_N[known]).all():
            raise ValueError("scores must be finite")
        self.order_N = known[np.argsort(-scores_N[known], kind="stable")]
        self._positive_N = (labels_N[self.order_N] == 1).astype(np.float64)
        ordered = scores_N[self.order_N]
        self._starts_T = (
            np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.array([], int)
        )

    @property
    def has_both_classes(self) -> bool:
        return 0 < int(self._positive_N.sum()) < len(self._positive_N)

    def curve(self, weights_RN: Array) -> _Curve:
        """Curve for weights on all N samples, in the caller's order."""
        ordered = weights_RN[:, self.order_N]
        return _Curve(
            np.cumsum(np.add.reduceat(ordered * self._positive_N, self._starts_T, axis=1), axis=1),
            np.cumsum(np.add.reduceat(ordered * (1 - self._positive_N), self._starts_T, axis=1), axis=1),
        )


def area_under_roc(curve: _Curve) -> Array:
    """Probability that a positive outranks a negative, ties counting half; NaN where a class is missing."""
    below = curve.negatives[:, None] - curve.false_RT
    ties = np.diff(curve.false_RT, axis=1, prepend=0)
    wins = (np.diff(curve.true_RT, axis=1, prepend=0) * (below + ties / 2)).sum(axis=1)
    return ratio(wins, curve.positives * curve.negatives)


def average_precision(curve: _Curve) -> Array:
    """Mean precision over recall steps (no interpolation); NaN without positives."""
    precision = ratio(curve.true_RT, curve.true_RT + curve.false_RT, empty=0.0)
    gained = np.diff(curve.true_RT, axis=1, prepend=0)
    return ratio((gained * precision).sum(axis=1), curve.positives)


def sensitivity_at_specificity(specificity: float) -> Callable[[_Curve], Array]:
    """Highest sensitivity of a threshold whose specificity is at least the given one (0 if there is none)."""

    def metric(curve: _Curve) -> Array:
        # Half a sample's rounding must not shut out a threshold that sits exactly on the bar.
        allowed = curve.false_RT <= (1 - specificity) * curve.negatives[:, None] + 1e-9
        reached = np.where(allowed, curve.true_RT, 0).max(axis=1)
        value = ratio(reached, curve.positives)
        return np.where(curve.negatives > 0, value, np.nan)

    return metric


RANKING_METRICS: dict[str, Callable[[_Curve], Array]] = {
    "auc": area_under_roc,
    "average_precision": average_precision,
    "sensitivity_at_80_specificity": sensitivity_at_specificity(0.80),
    "sensitivity_at_90_specificity": sensitivity_at_specificity(0.90),
    "sensitivity_at_95_specificity": sensitivity_at_specificity(0.95),
}


def auc(labels_N: npt.NDArray[np.integer], scores_N: npt.NDArray[np.floating]) -> float | None:
    """Area under the ROC curve over known labels; None unless both classes are there."""
    ranking = Ranking(labels_N, scores_N)
    if not ranking.has_both_classes:
        return None
    return float(area_under_roc(ranking.curve(np.ones((1, len(labels_N)))))[0])


def ranking_metrics(
    labels_N: npt.NDArray[np.integer],
    scores_N: npt.NDArray[np.floating],
    groups_N: npt.NDArray[np.generic],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate | None]:
    """Every ranking metric of one label with its interval over groups (patients, videos, blocks).

    Args:
        labels_N: 1, 0 or -1 for unknown.
        scores_N: scores or probabilities.
        groups_N: the unit that is drawn with replacement; frames of one group are not independent.
        replicates: bootstrap draws; those in which a metric is undefined are left out and counted out.
        seed: of the draws.

    Returns:
        Metric name to estimate; None for all if only one class is known.
    """
    ranking = Ranking(labels_N, scores_N)
    if not ranking.has_both_classes:
        return dict.fromkeys(RANKING_METRICS)
    whole = ranking.curve(np.ones((1, len(labels_N))))
    values = {name: float(metric(whole)[0]) for name, metric in RANKING_METRICS.items()}
    drawn: dict[str, list[Array]] = {name: [] for name in RANKING_METRICS}
    for weights_RN in group_weights(groups_N, replicates=replicates, seed=seed):
        curve = ranking.curve(weights_RN)
        for name, metric in RANKING_METRICS.items():
            drawn[name].append(metric(curve))
    return {name: estimate(values[name], drawn[name]) for name in RANKING_METRICS}


def mean_of_defined(values_RK: Array) -> Array:
    """Mean of each row over its finite values, float64 [R]; NaN for a row without any."""
    defined_RK = np.isfinite(values_RK)
    return ratio(np.where(defined_RK, values_RK, 0).sum(axis=1), defined_RK.sum(axis=1))


def sum_by_group(values_NX: npt.NDArray[np.generic], groups_N: npt.NDArray[np.generic]) -> Array:
    """Sums over the samples of each group, float64 [G, ...], groups in the order of `np.unique`."""
    names, group_N = np.unique(groups_N, return_inverse=True)
    sums_GX = np.zeros((len(names), *values_NX.shape[1:]))
    np.add.at(sums_GX, group_N, values_NX)
    return sums_GX


def group_weights(groups_N: npt.NDArray[np.generic], *, replicates: int, seed: int) -> Iterator[Array]:
    """Bootstrap weights [R, N], how often each sample's group was drawn, in slices that bound the memory.

    Nothing is given for a single group: it says nothing about the spread between groups.
    """
    names, group_N = np.unique(groups_N, return_inverse=True)
    if len(names) < 2:
        return
    rng = np.random.default_rng(seed)
    per_slice = max(1, _SLICE_CELLS // len(groups_N))
    for start in range(0, replicates, per_slice):
        rows = min(per_slice, replicates - start)
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=rows)
        yield counts[:, group_N].astype(np.float64)


def estimate(value: float, drawn: Sequence[Array]) -> Estimate | None:
    """The value with the 2.5 and 97.5 percentiles of its defined replicates; None if it is undefined."""
    if not np.isfinite(value):
        return None
    drawn_R = np.concatenate([np.empty(0), *drawn])
    defined = drawn_R[np.isfinite(drawn_R)]
    if len(defined) == 0:
        return Estimate(value, None, None, 0)
    low, high = np.percentile(defined, [2.5, 97.5])
    return Estimate(value, float(low), float(high), len(defined))


def brier_score(labels_N: npt.NDArray[np.integer], probabilities_N: npt.NDArray[np.floating]) -> float | None:
    """Mean squared distance of probability and outcome over known labels (Brier 1950); None if none is."""
    known = labels_N >= 0
    if not known.any():
        return None
    return float(np.mean((probabilities_N[known] - labels_N[known]) ** 2))


def expected_calibration_error(
    labels_N: npt.NDArray[np.integer], probabilities_N: npt.NDArray[np.floating], *, bins: int = ECE_BINS
) -> float | None:
    """Mean gap of confidence and frequency over bins of equal width (Guo et al. 2017); None if none is."""
    count, said, came = calibration_bins(labels_N, probabilities_N, bins=bins)
    return float(np.abs(said - came).sum() / count.sum()) if count.any() else None


def calibration_bins(
    labels_N: npt.NDArray[np.integer], probabilities_N: npt.NDArray[np.floating], *, bins: int = ECE_BINS
) -> tuple[Array, Array, Array]:
    """Known samples, sum of their probabilities and of their labels, each [bins], for bins of equal width."""
    known = labels_N >= 0
    outcome, probability = labels_N[known], probabilities_N[known].astype(np.float64)
    bin_N = np.minimum((probability * bins).astype(int), bins - 1)
    summed = (np.ones(len(outcome)), probability, outcome.astype(np.float64))
    count, said, came = (
        np.bincount(bin_N, weights=values, minlength=bins).astype(np.float64) for values in summed
    )
    return count, said, came


def ratio(numerator: Array, denominator: Array, *, empty: float = np.nan) -> Array:
    """The quotient, and `empty` where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, empty), where=denominator > 0)

"""Curves to be drawn beside the figures, as JSON with few points: ROC, precision-recall and reliability."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from models.metrics import ECE_BINS, Array, Ranking, calibration_bins
from models.schema import JsonObject

MAX_POINTS = 101
_DIGITS = 5  # a hundred thousandth is less than a pixel of any plot


def curves(
    labels_N: npt.NDArray[np.integer],
    scores_N: npt.NDArray[np.floating],
    probabilities_N: npt.NDArray[np.floating],
) -> JsonObject:
    """The curves of one label.

    Args:
        labels_N: 1, 0 or -1 for unknown.
        scores_N: higher means more likely positive; finite.
        probabilities_N: calibrated, 0 to 1.

    Returns:
        `roc`: `false_positive_rate` and `sensitivity`, rising from (0, 0) to (1, 1); `precision_recall`:
        `recall` (rising) and `precision`; both null unless both classes are known, and of at most 101 points,
        each of them a point of the full curve. `reliability`: the bins of `expected_calibration_error`;
        `mean_probability` and `frequency` are null in an empty one, and all is null if no label is known.
    """
    ranking = Ranking(labels_N, scores_N)
    whole = ranking.curve(np.ones((1, len(labels_N)))) if ranking.has_both_classes else None
    return {
        "roc": whole and _roc(whole.true_RT[0], whole.false_RT[0]),
        "precision_recall": whole and _precision_recall(whole.true_RT[0], whole.false_RT[0]),
        "reliability": reliability(labels_N, probabilities_N) if (labels_N >= 0).any() else None,
    }


def reliability(
    labels_N: npt.NDArray[np.integer], probabilities_N: npt.NDArray[np.floating], *, bins: int = ECE_BINS
) -> list[JsonObject]:
    """What was said and how often it came true, in bins of equal width (DeGroot and Fienberg 1983)."""
    count, said, came = calibration_bins(labels_N, probabilities_N, bins=bins)
    return [
        {
            "low": _rounded(low),
            "high": _rounded(high),
            "count": int(count[number]),
            "mean_probability": _rounded(said[number] / count[number]) if count[number] else None,
            "frequency": _rounded(came[number] / count[number]) if count[number] else None,
        }
        for number, (low, high) in enumerate(pairwise(np.linspace(0, 1, bins + 1)))
    ]


def _roc(true_T: Array, false_T: Array) -> JsonObject:
    sensitivity = np.r_[0.0, true_T / true_T[-1]]
    alarms = np.r_[0.0, false_T / false_T[-1]]
    kept = _evenly(sensitivity + alarms)
    return {"false_positive_rate": _list(alarms[kept]), "sensitivity": _list(sensitivity[kept])}


def _precision_recall(true_T: Array, false_T: Array) -> JsonObject:
    recall, precision = true_T / true_T[-1], true_T / (true_T + false_T)
    kept = _evenly(recall)
    return {"recall": _list(recall[kept]), "precision": _list(precision[kept])}


def _evenly(way: Array) -> npt.NDArray[np.int64]:
    """Indexes of at most 101 points that lie about evenly on a rising way, both ends among them."""
    wanted = np.linspace(way[0], way[-1], MAX_POINTS - 1)
    # The last index apart: further points may share the end of the way.
    return np.unique(np.r_[np.searchsorted(way, wanted), len(way) - 1])


def _list(values: Array) -> list[float]:
    return [_rounded(value) for value in values]


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS)

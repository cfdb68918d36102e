"""What the runs of a comparison say together: means over folds, paired differences, the hardest frames.

The fold is the unit: seeds of one fold share their frames, so they are averaged before anything is compared.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from models.schema import JsonObject

MEASURES = (
    "auc",
    "sensitivity_at_80_specificity",
    "sensitivity_at_90_specificity",
    "sensitivity_at_95_specificity",
    "average_precision",
    "pointing",
    "overlap",
)
_SHOWN_MISTAKES = 6


def summary(runs: Sequence[JsonObject], arm: str, names: Sequence[str], *, folds: int) -> JsonObject:
    """Per label and measure of one arm: mean, deviation and minimum over folds, and every fold's value.

    Args:
        runs: each with `arm`, `fold`, and `labels`: name to measures, None where undefined.
        arm: which ones.
        names: of the labels.
        folds: how many there are.
    """
    return {
        name: {measure: _spread(_fold_means(runs, arm, name, measure, folds)) for measure in MEASURES}
        for name in names
    }


def differences(
    runs: Sequence[JsonObject], arm: str, baseline: str, names: Sequence[str], *, folds: int
) -> JsonObject:
    """Per label and measure `arm` less `baseline`, paired by fold: see `difference`."""
    return {
        name: {
            measure: _paired(
                _fold_means(runs, arm, name, measure, folds),
                _fold_means(runs, baseline, name, measure, folds),
            )
            for measure in MEASURES
        }
        for name in names
    }


def difference(one_F: Sequence[float], other_F: Sequence[float]) -> JsonObject | None:
    """Mean paired difference over folds with its 95 % interval by Student's t; no interval for one fold."""
    differences_F = np.asarray(one_F) - np.asarray(other_F)
    if not len(differences_F):
        return None
    mean = float(differences_F.mean())
    if len(differences_F) == 1:
        return {"mean": mean, "low": None, "high": None, "folds": 1}
    error = differences_F.std(ddof=1) / np.sqrt(len(differences_F))
    reach = float(stats.t.ppf(0.975, len(differences_F) - 1) * error)
    return {"mean": mean, "low": mean - reach, "high": mean + reach, "folds": len(differences_F)}


def hardest(
    scores_RM: Sequence[Sequence[float]], labels_M: npt.NDArray[np.int8], ordinals_M: npt.NDArray[np.int64]
) -> JsonObject:
    """Ordinals of the positives ranked lowest and the negatives ranked highest, on average over runs."""
    if not len(scores_RM):
        return {"missed": [], "alarms": []}
    order_M = np.argsort(np.mean([stats.rankdata(scores_M) for scores_M in scores_RM], axis=0), kind="stable")
    missed = [int(ordinals_M[row]) for row in order_M if labels_M[row] == 1]
    alarms = [int(ordinals_M[row]) for row in order_M[::-1] if labels_M[row] == 0]
    return {"missed": missed[:_SHOWN_MISTAKES], "alarms": alarms[:_SHOWN_MISTAKES]}


def _fold_means(
    runs: Sequence[JsonObject], arm: str, name: str, measure: str, folds: int
) -> list[float | None]:
    """Per fold the mean over seeds; None where the fold cannot say."""
    values: list[list[float]] = [[] for _ in range(folds)]
    for run in runs:
        value = run["labels"].get(name, {}).get(measure) if run["arm"] == arm else None
        if value is not None:
            values[run["fold"]].append(value)
    return [float(np.mean(found)) if found else None for found in values]


def _spread(fold_means: Sequence[float | None]) -> JsonObject | None:
    known = [value for value in fold_means if value is not None]
    if not known:
        return None
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return {
        "mean": float(np.mean(known)),
        "deviation": deviation,
        "minimum": min(known),
        "folds": list(fold_means),
    }


def _paired(one: Sequence[float | None], other: Sequence[float | None]) -> JsonObject | None:
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return difference([a for a, _ in pairs], [b for _, b in pairs])

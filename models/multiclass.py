"""Metrics of frames that have exactly one of several classes, with intervals by group bootstrap.

The rule is the one by which Capsule Vision 2024 was scored (mean one-vs-rest AUC and balanced accuracy, both
unweighted over classes; a frame's class is the one with the highest score). Only the order of the scores
counts, per frame and per class: logits do as well as probabilities. Unknown classes (-1) are left out.
Shape suffixes: N samples, K classes, k of them, G groups, R replicates.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from models.metrics import (
    Array,
    Estimate,
    Ranking,
    area_under_roc,
    estimate,
    group_weights,
    mean_of_defined,
    ratio,
    sum_by_group,
)

# Top-k accuracy says something only where k is well below the number of classes.
_TOP = (2, 3, 5)


def multiclass_metrics(
    classes_N: npt.NDArray[np.integer],
    scores_NK: npt.NDArray[np.floating],
    groups_N: npt.NDArray[np.generic],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate | None]:
    """Accuracy, balanced accuracy, macro F1, multi-class MCC, top-k accuracy and mean one-vs-rest AUC.

    Args:
        classes_N: 0 to K - 1, or -1 for unknown.
        scores_NK: one finite score per class, higher for more likely; of equal ones the first class counts.
        groups_N: the unit that is drawn with replacement.
        replicates: bootstrap draws.
        seed: of the draws.

    Returns:
        Name to estimate. `balanced_accuracy` is the mean sensitivity of the classes that occur; `macro_f1`
        the mean F1 of those that occur or are predicted; `mcc` the R_K of Gorodkin (2004), 0 for predictions
        that are all alike; `top_2_accuracy`, `top_3_accuracy` and `top_5_accuracy` are there for at least
        twice as many classes; `mean_auc` the mean over classes that some known frames have and others have
        not. What occurs is seen anew in each replicate. None where nothing is known, and for `mcc` and
        `mean_auc` where only one class is.
    """
    known_N = classes_N >= 0
    classes_N, scores_NK, groups_N = classes_N[known_N], scores_NK[known_N], groups_N[known_N]
    if not np.isfinite(scores_NK).all():
        raise ValueError("scores must be finite")
    if len(classes_N) == 0:
        return dict.fromkeys((*_DECISIONS, *_tops(scores_NK.shape[1]), "mean_auc"))
    measured = _measure(classes_N, scores_NK, groups_N)
    whole = measured(np.ones((1, len(classes_N))))
    drawn = [measured(weights_RN) for weights_RN in group_weights(groups_N, replicates=replicates, seed=seed)]
    return {name: estimate(float(value[0]), [part[name] for part in drawn]) for name, value in whole.items()}


def confusion_matrix(
    classes_N: npt.NDArray[np.integer], predicted_N: npt.NDArray[np.integer], count: int
) -> npt.NDArray[np.int64]:
    """Known samples by true class (rows) and predicted class (columns), int64 [count, count]."""
    known_N = classes_N >= 0
    return np.asarray(_cells(classes_N[known_N], predicted_N[known_N], count).sum(axis=0), dtype=np.int64)


def _measure(
    classes_N: npt.NDArray[np.integer],
    scores_NK: npt.NDArray[np.floating],
    groups_N: npt.NDArray[np.generic],
) -> Callable[[Array], dict[str, Array]]:
    """From weights [R, N], alike within a group, to every metric [R]; NaN where it is undefined."""
    count = scores_NK.shape[1]
    first_G = np.unique(groups_N, return_index=True)[1]
    confusion_GKK = sum_by_group(_cells(classes_N, scores_NK.argmax(axis=1), count), groups_N)
    hits_G = {
        name: sum_by_group(_within(classes_N, scores_NK, k), groups_N) for name, k in _tops(count).items()
    }
    rankings = [Ranking((classes_N == k).astype(np.int8), scores_NK[:, k]) for k in np.unique(classes_N)]

    def measured(weights_RN: Array) -> dict[str, Array]:
        weights_RG = weights_RN[:, first_G]
        confusion_RKK = np.tensordot(weights_RG, confusion_GKK, axes=1)
        total_R = weights_RN.sum(axis=1)
        areas = [area_under_roc(ranking.curve(weights_RN)) for ranking in rankings]
        return (
            {name: metric(confusion_RKK) for name, metric in _DECISIONS.items()}
            | {name: weights_RG @ hit_G / total_R for name, hit_G in hits_G.items()}
            | {"mean_auc": mean_of_defined(np.stack(areas, axis=1))}
        )

    return measured


def _tops(count: int) -> dict[str, int]:
    return {f"top_{k}_accuracy": k for k in _TOP if 2 * k <= count}


def _cells(
    classes_N: npt.NDArray[np.integer], predicted_N: npt.NDArray[np.integer], count: int
) -> npt.NDArray[np.bool_]:
    """Bool [N, K, K]: true class by predicted class, one cell per sample."""
    one_hot_KK = np.eye(count, dtype=np.bool_)
    return np.asarray(one_hot_KK[classes_N][:, :, None] & one_hot_KK[predicted_N][:, None, :])


def _within(
    classes_N: npt.NDArray[np.integer], scores_NK: npt.NDArray[np.floating], k: int
) -> npt.NDArray[np.bool_]:
    """Bool [N]: whether the true class is among the k of the highest scores."""
    best_Nk = np.argsort(-scores_NK, axis=1, kind="stable")[:, :k]
    return np.asarray((best_Nk == classes_N[:, None]).any(axis=1))


def _accuracy(confusion_RKK: Array) -> Array:
    right = np.trace(confusion_RKK, axis1=1, axis2=2)
    return np.asarray(right / confusion_RKK.sum(axis=(1, 2)))


def _balanced_accuracy(confusion_RKK: Array) -> Array:
    hits_RK, true_RK = np.diagonal(confusion_RKK, axis1=1, axis2=2), confusion_RKK.sum(axis=2)
    return mean_of_defined(ratio(hits_RK, true_RK))


def _macro_f1(confusion_RKK: Array) -> Array:
    hits_RK = np.diagonal(confusion_RKK, axis1=1, axis2=2)
    return mean_of_defined(ratio(2 * hits_RK, confusion_RKK.sum(axis=2) + confusion_RKK.sum(axis=1)))


def _matthews(confusion_RKK: Array) -> Array:
    total_R, right_R = confusion_RKK.sum(axis=(1, 2)), np.trace(confusion_RKK, axis1=1, axis2=2)
    true_RK, said_RK = confusion_RKK.sum(axis=2), confusion_RKK.sum(axis=1)
    agreement_R = right_R * total_R - (true_RK * said_RK).sum(axis=1)
    spread_true_R = total_R**2 - (true_RK**2).sum(axis=1)
    spread_said_R = total_R**2 - (said_RK**2).sum(axis=1)
    # Predictions that are all alike agree as much as chance does: 0, the limit of the 0 / 0.
    spread_R = np.where(spread_said_R > 0, np.sqrt(spread_true_R) * np.sqrt(spread_said_R), 1.0)
    return np.where(spread_true_R > 0, agreement_R / np.where(spread_R > 0, spread_R, 1.0), np.nan)


_DECISIONS = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "mcc": _matthews,
}

"""What is measured of answers of which exactly one is right, with intervals over groups.

Shape suffixes: N frames, K classes, R replicates, M = K * K cells of a confusion matrix (truth, then answer).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.metrics import Array, Estimate, Ranking, area_under_roc, estimate, group_weights

# Top-k accuracy says something only where k is well below the number of classes.
_TOP = (2, 3, 5)


def multiclass_metrics(
    class_N: npt.NDArray[np.int64],
    probabilities_NK: npt.NDArray[np.floating],
    groups_N: npt.NDArray[np.generic],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate | None]:
    """Accuracy, top-k, balanced accuracy, macro F1, MCC and mean one-versus-rest AUC.

    A class without a frame has no recall and no AUC, and is left out of their means, in a replicate too;
    macro F1 also counts a class that was answered although it is not there.

    Args:
        class_N: the true class, 0..K-1.
        probabilities_NK: the answer is the greatest of a row.
        groups_N: the unit that is drawn with replacement.
        replicates: bootstrap draws.
        seed: of the draws.

    Returns:
        Metric name to estimate; None where it is not defined on these frames.
    """
    count = probabilities_NK.shape[1]
    cells_NM = _cells(class_N, probabilities_NK.argmax(axis=1), count)
    hits = {f"top_{k}_accuracy": _within(class_N, probabilities_NK, k) for k in _TOP if 2 * k <= count}
    present = np.unique(class_N)
    rankings = [
        Ranking((class_N == number).astype(np.int8), probabilities_NK[:, number])
        for number in (present if len(present) > 1 else ())
    ]

    def measured(weights_RN: Array) -> Mapping[str, Array]:
        found = confusion_metrics((weights_RN @ cells_NM).reshape(-1, count, count))
        total_R = weights_RN.sum(axis=1)
        found |= {name: (weights_RN @ hit_N) / total_R for name, hit_N in hits.items()}
        areas = [area_under_roc(ranking.curve(weights_RN)) for ranking in rankings]
        return found | {"mean_auc": _mean(np.stack(areas)) if areas else np.full(len(weights_RN), np.nan)}

    whole = measured(np.ones((1, len(class_N))))
    drawn = [measured(weights_RN) for weights_RN in group_weights(groups_N, replicates=replicates, seed=seed)]
    return {name: estimate(float(value[0]), [part[name] for part in drawn]) for name, value in whole.items()}


def confusion_matrix(
    class_N: npt.NDArray[np.int64], answer_N: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int64]:
    """Frames by true class (rows) and answer (columns), int64 [count, count]."""
    return np.bincount(class_N * count + answer_N, minlength=count * count).reshape(count, count)


def confusion_metrics(matrix_RKK: npt.NDArray[np.floating]) -> dict[str, Array]:
    """Accuracy, balanced accuracy, macro F1 and MCC of confusion matrices; NaN where undefined.

    MCC is the multi-class one of Gorodkin (2004): the correlation of truth and answer as one-hot vectors; 0
    where every answer, or every truth, is the same.
    """
    matrix = matrix_RKK.astype(np.float64)
    hit_RK = np.diagonal(matrix, axis1=1, axis2=2)
    true_RK, said_RK = matrix.sum(axis=2), matrix.sum(axis=1)
    total_R, hits_R = matrix.sum(axis=(1, 2)), hit_RK.sum(axis=1)
    covariance_R = hits_R * total_R - (true_RK * said_RK).sum(axis=1)
    spread_R = np.sqrt(
        (total_R**2 - (true_RK**2).sum(axis=1)) * (total_R**2 - (said_RK**2).sum(axis=1)).clip(min=0)
    )
    return {
        "accuracy": _share(hits_R, total_R),
        "balanced_accuracy": _mean(_share(hit_RK, true_RK).T),
        "macro_f1": _mean(_share(2 * hit_RK, true_RK + said_RK).T),
        "mcc": np.divide(covariance_R, spread_R, out=np.zeros_like(spread_R), where=spread_R > 0),
    }


def _cells(
    class_N: npt.NDArray[np.int64], answer_N: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    cells_NM = np.zeros((len(class_N), count * count))
    cells_NM[np.arange(len(class_N)), class_N * count + answer_N] = 1
    return cells_NM


def _within(
    class_N: npt.NDArray[np.int64], probabilities_NK: npt.NDArray[np.floating], k: int
) -> npt.NDArray[np.float64]:
    best_Nk = np.argsort(-probabilities_NK, axis=1, kind="stable")[:, :k]
    return np.asarray((best_Nk == class_N[:, None]).any(axis=1), dtype=np.float64)


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _mean(values_KR: Array) -> Array:
    """Mean over the classes for which a value is defined; NaN where none is."""
    defined_KR = np.isfinite(values_KR)
    return _share(np.where(defined_KR, values_KR, 0).sum(axis=0), defined_KR.sum(axis=0).astype(np.float64))

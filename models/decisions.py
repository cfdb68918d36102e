"""Metrics of yes/no decisions, of one label and over several, with intervals by group bootstrap.

Labels are 1, 0 or -1 (unknown: left out). Shape suffixes as `models.metrics`; 4 stands for hit, miss, false
alarm and true negative.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from models.metrics import Array, Estimate, estimate, group_weights, mean_of_defined, ratio, sum_by_group


def decision_metrics(
    labels_N: npt.NDArray[np.integer],
    positive_N: npt.NDArray[np.bool_],
    groups_N: npt.NDArray[np.generic],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate | None]:
    """Sensitivity, specificity, predictive values, F1, MCC and more of yes/no decisions, with intervals.

    Arguments as `ranking_metrics`, `positive_N` being the decisions; None for an empty denominator. F1
    needs a known positive. The MCC (Matthews 1975) needs both classes; decisions that are all alike have 0.
    """
    cells_NK4 = _decision_cells(labels_N[:, None], positive_N[:, None])
    draws = _decision_draws(cells_NK4, groups_N, replicates=replicates, seed=seed)
    whole, *drawn = [{name: rates_RK[:, 0] for name, rates_RK in rates.items()} for rates in draws]
    return {
        name: estimate(float(value[0]), [rates[name] for rates in drawn]) for name, value in whole.items()
    }


MEAN_DECISION_METRICS = {"macro_f1": "f1", "mean_mcc": "mcc", "mean_balanced_accuracy": "balanced_accuracy"}


def mean_decision_metrics(
    labels_NK: npt.NDArray[np.integer],
    positive_NK: npt.NDArray[np.bool_],
    groups_N: npt.NDArray[np.generic],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate | None]:
    """Macro-F1, mean MCC and mean balanced accuracy over the labels, with intervals.

    Arguments as `decision_metrics`, one column per label. A label on which a metric is not defined is left
    out of that mean, in a replicate as in the whole; None if it is defined on no label.
    """
    cells_NK4 = _decision_cells(labels_NK, positive_NK)
    draws = _decision_draws(cells_NK4, groups_N, replicates=replicates, seed=seed)
    whole, *drawn = [
        {name: mean_of_defined(rates[part]) for name, part in MEAN_DECISION_METRICS.items()}
        for rates in draws
    ]
    return {
        name: estimate(float(value[0]), [means[name] for means in drawn]) for name, value in whole.items()
    }


def _decision_cells(
    labels_NK: npt.NDArray[np.integer], positive_NK: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Bool [N, K, 4]: whether a decision is a hit, miss, false alarm or true negative; none where unknown."""
    is_true, is_false = labels_NK == 1, labels_NK == 0
    cells = (is_true & positive_NK, is_true & ~positive_NK, is_false & positive_NK, is_false & ~positive_NK)
    return np.stack(cells, axis=-1)


def _decision_draws(
    cells_NK4: npt.NDArray[np.bool_], groups_N: npt.NDArray[np.generic], *, replicates: int, seed: int
) -> Iterator[dict[str, Array]]:
    """Rates [R, K] of all frames (R = 1), then of each slice of replicates."""
    cells_GK4 = sum_by_group(cells_NK4, groups_N)
    yield _decision_rates(cells_GK4.sum(axis=0, keepdims=True))
    for weights_RG in group_weights(np.arange(len(cells_GK4)), replicates=replicates, seed=seed):
        yield _decision_rates(np.tensordot(weights_RG, cells_GK4, axes=1))


def _decision_rates(cells_RK4: Array) -> dict[str, Array]:
    hit, miss, alarm, pass_ = np.moveaxis(cells_RK4, -1, 0)
    sensitivity, specificity = ratio(hit, hit + miss), ratio(pass_, pass_ + alarm)
    has_positives = np.where(hit + miss > 0, 1.0, np.nan)
    has_negatives = np.where(pass_ + alarm > 0, 1.0, np.nan)
    # Square roots before the product: four counts of a million would leave the exact integers.
    spread = np.sqrt((hit + miss) * (pass_ + alarm)) * np.sqrt((hit + alarm) * (pass_ + miss))
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "positive_predictive_value": ratio(hit, hit + alarm),
        "negative_predictive_value": ratio(pass_, pass_ + miss),
        "f1": ratio(2 * hit, 2 * hit + miss + alarm) * has_positives,
        "mcc": ratio(hit * pass_ - alarm * miss, spread, empty=0.0) * has_positives * has_negatives,
    }

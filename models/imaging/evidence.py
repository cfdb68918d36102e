"""Real frames and drawn ones are never judged together: what tells them apart would pass for skill."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.artifacts import Evidence
from models.imaging.datasets import UNKNOWN
from models.schema import JsonObject


def one_kind(
    labels_NK: npt.NDArray[np.int8], synthetic_N: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int8], tuple[Evidence, ...]]:
    """Keep of each label the better kind of frames: real ones where they have both classes, else drawn ones.

    Args:
        labels_NK: 1, 0 or -1 for unknown.
        synthetic_N: bool, drawn by code.

    Returns:
        The labels, unknown where a frame is not of the kept kind, and the kind per label; "none" where
        neither has both classes, so that no ranking can be measured.
    """
    kinds = tuple(_kind(labels_N, synthetic_N) for labels_N in labels_NK.T)
    # Of one class alone, real frames still tell how often the detector is wrong.
    no_real_K = np.asarray(~(labels_NK[~synthetic_N] >= 0).any(axis=0))
    kind_K = np.array(kinds)
    drawn_K = (kind_K == "synthetic") | ((kind_K == "none") & no_real_K)
    return of_kind(labels_NK, synthetic_N, drawn_K), kinds


def of_kind(
    labels_NK: npt.NDArray[np.int8], synthetic_N: npt.NDArray[np.bool_], drawn_K: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int8]:
    """The labels, unknown on drawn frames, or where `drawn_K` says so on all others."""
    return np.where(synthetic_N[:, None] == drawn_K, labels_NK, UNKNOWN).astype(np.int8)


def mean_area(labels: Mapping[str, JsonObject]) -> float | None:
    """Mean AUC over the labels of the better kind: one mean of real and drawn frames would be neither's."""
    for kind in ("real", "synthetic"):
        judged = [entry["auc"] for entry in labels.values() if entry["evidence"] == kind]
        areas = [area["value"] for area in judged if area is not None]
        if areas:
            return float(np.mean(areas))
    return None


def _kind(labels_N: npt.NDArray[np.int8], synthetic_N: npt.NDArray[np.bool_]) -> Evidence:
    if _has_both(labels_N[~synthetic_N]):
        return "real"
    return "synthetic" if _has_both(labels_N[synthetic_N]) else "none"


def _has_both(labels_M: npt.NDArray[np.int8]) -> bool:
    return bool((labels_M == 1).any() and (labels_M == 0).any())

"""Real frames and drawn ones are never judged together: what tells them apart would pass for skill."""

import numpy as np
import numpy.typing as npt

from models.artifacts import Evidence
from models.imaging.datasets import UNKNOWN


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
    kept_NK = labels_NK.copy()
    kinds = tuple(_kind(labels_N, synthetic_N) for labels_N in labels_NK.T)
    for column, kind in enumerate(kinds):
        # Of one class alone, real frames still tell how often the detector is wrong.
        drawn = kind == "synthetic" or (kind == "none" and not (labels_NK[~synthetic_N, column] >= 0).any())
        kept_NK[synthetic_N != drawn, column] = UNKNOWN
    return kept_NK, kinds


def _kind(labels_N: npt.NDArray[np.int8], synthetic_N: npt.NDArray[np.bool_]) -> Evidence:
    if _has_both(labels_N[~synthetic_N]):
        return "real"
    return "synthetic" if _has_both(labels_N[synthetic_N]) else "none"


def _has_both(labels_M: npt.NDArray[np.int8]) -> bool:
    return bool((labels_M == 1).any() and (labels_M == 0).any())

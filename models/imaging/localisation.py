"""Where a detector's maps point, beside where somebody has drawn the lesion.

Pointing game: Zhang et al., "Top-down neural attention by excitation backprop" (IJCV 2018), no tolerance.
Overlap: intersection over union of the lesion and the region where the map reaches half its peak.
Chance is not nought where lesions are large, so the same is measured of maps by drawn weights.
Shape suffixes: N frames, M frames whose lesion is drawn, K labels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.imaging import cam
from models.imaging.decoded import lesion_in_square
from models.imaging.mixture import Frames
from models.imaging.predictor import Predictions
from models.metrics import estimate, group_weights
from models.schema import JsonObject, encode


@dataclass(frozen=True)
class _Located:
    """One positive frame whose lesion is drawn."""

    hit: bool
    lesion_share: float
    overlap: float
    group: str


def measure_maps(
    predictions: Predictions,
    labels_NK: npt.NDArray[np.int8],
    groups_N: npt.NDArray[np.str_],
    dataset: Frames,
    ordinals_N: npt.NDArray[np.int64],
    *,
    size_px: int,
    seed: int = 0,
) -> dict[str, JsonObject | None]:
    """Pointing game and overlap of every label.

    Args:
        predictions: of the N frames.
        labels_NK: 1, 0 or -1 for unknown, columns as the predictions'.
        groups_N: the unit of the intervals.
        dataset: holds masks and boxes.
        ordinals_N: numbers of the frames in it.
        size_px: side of the square that was read.
        seed: of the intervals.

    Returns:
        Label to `{"pointing": {"rate", "low", "high", "hits", "n", "lesion_share"}, "overlap": {"value",
        "low", "high", ...}}`; lesion_share is the rate of a random point. None where no place is known.
    """
    result: dict[str, JsonObject | None] = {}
    for column, name in enumerate(predictions.labels):
        found = []
        for row in np.flatnonzero(labels_NK[:, column] == 1):
            lesion = lesion_in_square(dataset, int(ordinals_N[row]), label=name, size_px=size_px)
            if lesion is not None:
                found.append(_locate(predictions.cam_BKhw[row, column], lesion, str(groups_N[row])))
        result[name] = _summary(found, seed) if found else None
    return result


def _locate(map_hw: cam.Float32, lesion: npt.NDArray[np.bool_], group: str) -> _Located:
    size = len(lesion)
    x, y = cam.peak(map_hw, size)
    region = cam.region(map_hw, size)
    union = int((region | lesion).sum())
    return _Located(
        hit=bool(lesion[min(int(y), size - 1), min(int(x), size - 1)]),
        lesion_share=float(lesion.mean()),
        overlap=int((region & lesion).sum()) / max(union, 1),
        group=group,
    )


def _summary(found: list[_Located], seed: int) -> JsonObject:
    groups_M = np.array([one.group for one in found])
    hits_M = np.array([one.hit for one in found], dtype=float)
    overlaps_M = np.array([one.overlap for one in found])
    pointing = _mean(hits_M, groups_M, seed)
    return {
        "pointing": {
            "rate": pointing["value"],
            "low": pointing["low"],
            "high": pointing["high"],
            "hits": int(hits_M.sum()),
            "n": len(found),
            "lesion_share": float(np.mean([one.lesion_share for one in found])),
        },
        "overlap": _mean(overlaps_M, groups_M, seed),
    }


def _mean(values_M: npt.NDArray[np.float64], groups_M: npt.NDArray[np.str_], seed: int) -> JsonObject:
    """Mean over frames with its interval over groups."""
    slices = group_weights(groups_M, replicates=1000, seed=seed)
    drawn = [weights_RM @ values_M / weights_RM.sum(axis=1) for weights_RM in slices]
    encoded: JsonObject = encode(estimate(float(values_M.mean()), drawn))
    return encoded

"""What a stored activation map says, cell by cell, on one scale for every frame and version."""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any


def cell_probabilities(
    cam: bytes, side: int, *, score: float, calibration: Mapping[str, Any]
) -> list[list[float]]:
    """Rows of values in 0..1: the calibrated probability if the whole frame looked like the cell.

    The logit is the mean of the map plus a bias (Zhou et al., CVPR 2016), so each cell plus the bias is the
    logit that the cell alone speaks for. The grid covers the square that the frame was padded to.
    """
    cells = struct.unpack(f"<{side * side}e", cam)
    bias = score - math.fsum(cells) / len(cells)
    slope, intercept = calibration.get("slope", 1.0), calibration.get("intercept", 0.0)
    values = [_sigmoid(slope * (cell + bias) + intercept) for cell in cells]
    return [values[start : start + side] for start in range(0, side * side, side)]


def _sigmoid(x: float) -> float:
    # Two forms, so that neither exponent overflows.
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def rounded(grid: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in grid]

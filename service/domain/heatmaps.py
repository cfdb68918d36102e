"""What a stored activation map says, cell by cell, on one scale for every frame and version."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# What is drawn as the hottest colour, and so is all above.
FULL_SCALE = 0.5
# Thresholds are stored as REAL: what is nearer to 0 or 1 than this is 0 or 1 there.
_LEAST_CHANCE = 2.0**-25


Kind = Literal["density", "probability"]
MEAN = "mean"  # how versions pool that do not say


@dataclass(frozen=True)
class HeatMap:
    """Rows of evidence, cell by cell, drawn from `floor` up on 0 to `FULL_SCALE`.

    The grid covers the square that the frame was padded to.
    """

    densities: list[list[float]]
    floor: float
    kind: Kind = "density"


def heat_map(
    cam: bytes,
    side: int,
    *,
    score: float,
    threshold: float,
    slope: float,
    intercept: float,
    pooling: str = MEAN,
) -> HeatMap:
    """What each cell says; slope and intercept are the label's calibration.

    Under the mean a cell is a density: see `_density`. Under log-sum-exp one cell can decide, so each is read
    as a frame of its own: see `_chance`.
    """
    cells = struct.unpack(f"<{side * side}e", cam)
    kind: Kind = "density" if pooling == MEAN else "probability"
    read = {"density": _density, "probability": _chance}[kind]
    values, floor = read(cells, score, threshold, slope, intercept)
    return HeatMap([values[start : start + side] for start in range(0, side * side, side)], floor, kind)


def _density(
    cells: Sequence[float], score: float, threshold: float, slope: float, intercept: float
) -> tuple[list[float], float]:
    """Log-odds that 1 % of the frame adds to the finding.

    The logit is the mean of the map plus a bias (Zhou et al., CVPR 2016): 1 % of it is cell / 100. A density
    times the area of its cell, summed over the map, is the calibrated logit less a constant, however many
    cells there are. The floor is the density at which a whole frame of such cells would be just at the
    threshold; never below 0, where a cell speaks against the finding.
    """
    bias = score - math.fsum(cells) / len(cells)
    floor = max(0.0, (_log_odds(threshold) - intercept - slope * bias) / 100)
    return [slope * cell / 100 for cell in cells], floor


def _chance(
    cells: Sequence[float], score: float, threshold: float, slope: float, intercept: float
) -> tuple[list[float], float]:
    """Probability of a frame like this cell everywhere; 1 is the full scale, the threshold the floor."""
    highest = max(cells)
    pooled = highest + math.log(math.fsum(math.exp(cell - highest) for cell in cells) / len(cells))
    logits = [slope * (cell + score - pooled) + intercept for cell in cells]
    return [FULL_SCALE * 0.5 * (1 + math.tanh(logit / 2)) for logit in logits], FULL_SCALE * threshold


def _log_odds(probability: float) -> float:
    held = min(max(probability, _LEAST_CHANCE), 1 - _LEAST_CHANCE)
    return math.log(held / (1 - held))

"""What a stored activation map says, cell by cell, on one scale for every frame and version."""

import math
import struct
from dataclasses import dataclass

# Log-odds per 1 % of the frame that are drawn as the hottest colour, and so is all above.
FULL_SCALE = 0.5
# Thresholds are stored as REAL: what is nearer to 0 or 1 than this is 0 or 1 there.
_LEAST_CHANCE = 2.0**-25


@dataclass(frozen=True)
class HeatMap:
    """Rows of densities, in log-odds that 1 % of the frame adds to the finding; drawn from `floor` up.

    A density times the area of its cell, summed over the map, is the calibrated logit less a constant,
    however many cells there are. The grid covers the square that the frame was padded to.
    """

    densities: list[list[float]]
    floor: float


def heat_map(
    cam: bytes, side: int, *, score: float, threshold: float, slope: float, intercept: float
) -> HeatMap:
    """The logit is the mean of the map plus a bias (Zhou et al., CVPR 2016): 1 % of it is cell / 100.
    Slope and intercept are the label's calibration.

    The floor is the density at which a whole frame of such cells would be just at the threshold; never
    below 0, where a cell speaks against the finding.
    """
    cells = struct.unpack(f"<{side * side}e", cam)
    bias = score - math.fsum(cells) / len(cells)
    densities = [slope * cell / 100 for cell in cells]
    return HeatMap(
        densities=[densities[start : start + side] for start in range(0, side * side, side)],
        floor=max(0.0, (_log_odds(threshold) - intercept - slope * bias) / 100),
    )


def _log_odds(probability: float) -> float:
    held = min(max(probability, _LEAST_CHANCE), 1 - _LEAST_CHANCE)
    return math.log(held / (1 - held))

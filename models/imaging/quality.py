"""How readable a frame is: cheap measures on the square, for warnings beside findings, never instead."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QualityFlag = Literal["dark", "overexposed", "blurred", "small_field"]
QUALITY_FLAGS: tuple[str, ...] = get_args(QualityFlag)

# Sharpness depends on the scale it is measured at, so every frame is brought to this one first.
_SIDE_PX = 112
# Grey levels of 255: below the first lies the black surround, from the second on the sensor is saturated.
_SURROUND_GREY = 12
_SATURATED_GREY = 250

# Set on real capsule frames (WCEBleedGen): hardly one is flagged; half of them are after a blur of 3 px.
DARK_BELOW_GREY = 30.0
OVEREXPOSED_ABOVE_FRACTION = 0.25
BLURRED_BELOW_SHARPNESS = 8.0
SMALL_FIELD_BELOW_FRACTION = 0.3


@dataclass(frozen=True)
class Quality:
    """Measures of one frame.

    Attributes:
        brightness: (lower) median grey of the field of view, 0 to 255.
        overexposed_fraction: share of the field that is saturated, 0 to 1.
        sharpness: variance of the Laplacian of grey inside the field, at 112 x 112 pixels.
        field_fraction: share of the square that is not black surround, 0 to 1.
        flags: what is wrong, in the order of `QUALITY_FLAGS`; empty for a readable frame.
    """

    brightness: float
    overexposed_fraction: float
    sharpness: float
    field_fraction: float
    flags: tuple[QualityFlag, ...]


def assess(square: NDArray[np.uint8]) -> Quality:
    """Measure one frame.

    Args:
        square: uint8 [size, size, 3], RGB, as `preprocess.fit_square` returns it.

    Returns:
        Its quality. A wholly black frame is dark, blurred and without a field.
    """
    grey_image = Image.fromarray(square).convert("L").resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BILINEAR)
    grey = np.asarray(grey_image).astype(np.int16)
    inside = _inner(grey >= _SURROUND_GREY)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    # The other measures need only the grey levels of the field, counted once.
    counts = np.bincount(grey.ravel(), minlength=256)
    counts[:_SURROUND_GREY] = 0
    field_px = int(counts.sum())
    return _judge(
        brightness=float(np.searchsorted(np.cumsum(counts), (field_px + 1) // 2)) if field_px else 0.0,
        overexposed_fraction=float(counts[_SATURATED_GREY:].sum() / max(field_px, 1)),
        sharpness=float(laplacian[inside].var()) if inside.any() else 0.0,
        field_fraction=field_px / grey.size,
    )


def _inner(field: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[side - 2, side - 2]: pixels three away from the surround, so that the blurred rim is no sharpness."""
    inner = np.zeros_like(field)
    inner[3:-3, 3:-3] = (
        field[3:-3, 3:-3] & field[:-6, 3:-3] & field[6:, 3:-3] & field[3:-3, :-6] & field[3:-3, 6:]
    )
    return inner[1:-1, 1:-1]


def _judge(
    *, brightness: float, overexposed_fraction: float, sharpness: float, field_fraction: float
) -> Quality:
    wrong: dict[QualityFlag, bool] = {
        "dark": brightness < DARK_BELOW_GREY,
        "overexposed": overexposed_fraction > OVEREXPOSED_ABOVE_FRACTION,
        "blurred": sharpness < BLURRED_BELOW_SHARPNESS,
        "small_field": field_fraction < SMALL_FIELD_BELOW_FRACTION,
    }
    flags = tuple(flag for flag, holds in wrong.items() if holds)
    return Quality(brightness, overexposed_fraction, sharpness, field_fraction, flags)

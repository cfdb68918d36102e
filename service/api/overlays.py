"""Heat maps as transparent PNGs, drawn on demand from the stored grid, never into the stored picture."""

import io
from collections.abc import Sequence
from itertools import pairwise

from PIL import Image

# Anchors of matplotlib's `inferno` (CC0), perceptually uniform: one colour means one value everywhere.
_RAMP = (
    (0.0, (0, 0, 4)),
    (0.2, (66, 10, 104)),
    (0.4, (147, 38, 103)),
    (0.6, (221, 81, 58)),
    (0.8, (252, 165, 10)),
    (1.0, (252, 255, 164)),
)
_MAX_OPACITY = 0.8


def draw(grid: Sequence[Sequence[float]], *, width_px: int, height_px: int, threshold: float) -> bytes:
    """PNG of the frame's size: 0..1 on the fixed ramp, opacity rising with it, nothing below threshold."""
    side_px = max(width_px, height_px)
    values = Image.new("F", (len(grid[0]), len(grid)))
    values.putdata([value * 255 for row in grid for value in row])
    square = values.resize((side_px, side_px), Image.Resampling.BILINEAR)
    # The grid covers the frame padded to a centred square.
    left, top = (side_px - width_px) // 2, (side_px - height_px) // 2
    levels = square.crop((left, top, left + width_px, top + height_px)).convert("L")
    picture = Image.frombytes("P", levels.size, levels.tobytes())
    picture.putpalette([channel for level in range(256) for channel in _colour(level / 255)])
    # A level is transparent if any value that rounds down to it may lie below the threshold.
    opacity = bytes(_opacity(level / 255) if level / 255 >= threshold else 0 for level in range(256))
    out = io.BytesIO()
    picture.save(out, "PNG", transparency=opacity)
    return out.getvalue()


def _opacity(value: float) -> int:
    return round(255 * _MAX_OPACITY * value)


def _colour(value: float) -> tuple[int, int, int]:
    (low, dark), (high, bright) = next(pair for pair in pairwise(_RAMP) if value <= pair[1][0])
    share = (value - low) / (high - low)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(dark, bright, strict=True))
    return red, green, blue

"""Heat maps as transparent PNGs, drawn on demand from the stored grid, never into the stored picture."""

import io
from itertools import pairwise

from PIL import Image

from service.domain.heatmaps import FULL_SCALE, HeatMap

# Anchors of matplotlib's `inferno` (CC0), perceptually uniform: one colour means one value everywhere.
_RAMP = (
    (0.0, (0, 0, 4)),
    (0.2, (66, 10, 104)),
    (0.4, (147, 38, 103)),
    (0.6, (221, 81, 58)),
    (0.8, (252, 165, 10)),
    (1.0, (252, 255, 164)),
)
# Low enough that the tissue under the hottest colour can still be judged.
_MAX_OPACITY = 0.6


def draw(heat: HeatMap, *, width_px: int, height_px: int) -> bytes:
    """PNG of the frame's size: 0..FULL_SCALE on the ramp, opacity rising with it, nothing below the floor."""
    side_px = max(width_px, height_px)
    values = Image.new("F", (len(heat.densities[0]), len(heat.densities)))
    values.putdata([density / FULL_SCALE * 255 for row in heat.densities for density in row])
    square = values.resize((side_px, side_px), Image.Resampling.BILINEAR)
    # The grid covers the frame padded to a centred square.
    left, top = (side_px - width_px) // 2, (side_px - height_px) // 2
    levels = square.crop((left, top, left + width_px, top + height_px)).convert("L")
    picture = Image.frombytes("P", levels.size, levels.tobytes())
    picture.putpalette([channel for level in range(256) for channel in _colour(level / 255)])
    # A level is transparent if any density that rounds down to it may lie below the floor.
    lowest = heat.floor / FULL_SCALE
    opacity = bytes(_opacity(level / 255) if level / 255 >= lowest else 0 for level in range(256))
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

"""Pictures with heat maps for people: upright, with their scale."""

import io

import numpy as np
import pytest
from PIL import Image

from service.api import overlays
from service.commands.overlays import compose, scale
from service.domain.heatmaps import FULL_SCALE, HeatMap

FINDING = {"cam": {"kind": "density"}, "label": "polyp", "probability": 0.87, "threshold": 0.4}


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def drawn(*row: float, width_px: int, height_px: int) -> bytes:
    return overlays.draw(HeatMap([list(row)], floor=0.0), width_px=width_px, height_px=height_px)


def test_the_heat_map_lies_over_the_frame_and_leaves_the_rest() -> None:
    frame = Image.new("RGB", (500, 300), (10, 20, 30))
    hot_left = drawn(FULL_SCALE, 0.0, width_px=500, height_px=300)
    sheet = compose(png(frame), hot_left, FINDING)
    assert sheet.size[0] == 500
    assert sheet.size[1] > 300
    assert sheet.getpixel((490, 150)) == (10, 20, 30)
    red, green, blue = sheet.getpixel((5, 150))  # type: ignore[misc]  # an RGB image has three channels
    assert min(red, green) > 150
    assert blue > 100


def test_a_turned_frame_is_turned_before_the_map_is_laid_over_it() -> None:
    frame = Image.new("RGB", (500, 300))
    frame.paste((255, 255, 255), (0, 0, 500, 30))  # the upper edge as stored ...
    turned = Image.Exif()
    turned[0x0112] = 6  # ... is the right one as shown
    out = io.BytesIO()
    frame.save(out, "JPEG", exif=turned)
    nothing = drawn(0.0, width_px=300, height_px=500)
    sheet = compose(out.getvalue(), nothing, FINDING)
    left = (sheet.width - 300) // 2
    assert sheet.getpixel((left + 290, 250)) == (255, 255, 255)
    assert sheet.getpixel((left + 10, 250)) == (0, 0, 0)


@pytest.mark.parametrize("width", [100, 421, 1000])
def test_the_scale_is_that_of_the_map(width: int) -> None:
    bar = np.asarray(scale(width).convert("RGBA"))
    hottest = drawn(FULL_SCALE, width_px=4, height_px=4)
    wanted = np.asarray(Image.open(io.BytesIO(hottest)).convert("RGBA"))[0, 0]
    assert bar.shape[1] == width
    assert bar[0, 0, 3] < 10
    assert np.abs(bar[0, -1].astype(int) - wanted).max() < 12


def test_a_tiny_frame_still_has_a_readable_foot() -> None:
    sheet = compose(png(Image.new("RGB", (8, 8))), drawn(FULL_SCALE, width_px=8, height_px=8), FINDING)
    assert sheet.width >= 400

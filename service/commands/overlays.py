"""A frame with its heat map over it and the scale below: what `--save-overlays` writes."""

import io
import math
import warnings
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from service.api import overlays
from service.commands.terminal import percent
from service.domain.heatmaps import FULL_SCALE, HeatMap

NOTE = "Research use. Not for diagnosis."
_LEAST_WIDTH_PX, _FOOT_PX, _MARGIN_PX, _BAR_PX = 420, 52, 8, 12
_UNITS = {
    "density": f"{FULL_SCALE}+ log-odds per 1 % of the frame",
    "probability": "100 % probability of such a place",
}
_GROUND, _INK = (12, 14, 17), (233, 235, 238)


def compose(image: bytes, overlay: bytes, finding: Mapping[str, Any]) -> Image.Image:
    """The stored picture is left as it is: this one is a copy, with the scale that every export carries."""
    frame = _upright(image)
    heat = Image.open(io.BytesIO(overlay), formats=["PNG"]).convert("RGBA").resize(frame.size)
    width = max(frame.width, _LEAST_WIDTH_PX)
    sheet = Image.new("RGB", (width, frame.height + _FOOT_PX), _GROUND)
    sheet.paste(Image.alpha_composite(frame, heat).convert("RGB"), ((width - frame.width) // 2, 0))
    _write_foot(sheet, frame.height, finding)
    return sheet


def _upright(image: bytes) -> Image.Image:
    """As the decoder turned it, for the heat map is of the turned frame."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the service has judged these bytes already
        opened = Image.open(io.BytesIO(image), formats=["JPEG", "PNG"])
        return ImageOps.exif_transpose(opened).convert("RGBA")


def _write_foot(sheet: Image.Image, top: int, finding: Mapping[str, Any]) -> None:
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    said = f"{finding['label']} {percent(finding['probability'])}, threshold {percent(finding['threshold'])}"
    line = top + _MARGIN_PX
    pen.text((_MARGIN_PX, line), f"{said}. {NOTE}", _INK, font)
    line += 20
    unit = _UNITS[finding["cam"]["kind"]]
    left, right = _MARGIN_PX + 16, sheet.width - _MARGIN_PX - math.ceil(font.getlength(unit)) - 8
    pen.text((_MARGIN_PX, line), "0", _INK, font)
    pen.text((right + 8, line), unit, _INK, font)
    sheet.paste(scale(right - left), (left, line), scale(right - left))


def scale(width_px: int) -> Image.Image:
    """The ramp from 0 to its end, by the same drawing as the heat map itself."""
    levels = HeatMap(densities=[[level / 255 * FULL_SCALE for level in range(256)]], floor=0.0)
    drawn = overlays.draw(levels, width_px=width_px, height_px=_BAR_PX)
    return Image.open(io.BytesIO(drawn)).convert("RGBA")

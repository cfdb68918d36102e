"""Normal gut wall: hue, villi, vessels, folds and the dark lumen."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from models.synthetic import ranges
from models.synthetic.canvas import Canvas, Site, hsv, smoothstep
from models.synthetic.noise import Array, fractal_noise, smooth_noise
from models.synthetic.ranges import Dice


@dataclass(frozen=True)
class Appearance:
    """What all frames of one synthetic patient share; units as in `ranges`."""

    hue_deg: float
    saturation: float
    value: float
    villi_cells: int
    villi_relief: float
    vessel_cells: int
    vessel_opacity: float
    field_radius: float
    sensor_noise: float
    jpeg_quality: int

    @classmethod
    def of_patient(cls, dice: Dice) -> Self:
        """Draw a patient (and the capsule swallowed)."""
        return cls(
            hue_deg=dice.roll(ranges.MUCOSA_HUE_DEG),
            saturation=dice.roll(ranges.MUCOSA_SATURATION),
            value=dice.roll(ranges.MUCOSA_VALUE),
            villi_cells=round(dice.roll(ranges.VILLI_CELLS)),
            villi_relief=dice.roll(ranges.VILLI_RELIEF),
            vessel_cells=round(dice.roll(ranges.VESSEL_CELLS)),
            vessel_opacity=dice.roll(ranges.VESSEL_OPACITY),
            field_radius=dice.roll(ranges.FIELD_RADIUS),
            sensor_noise=dice.roll(ranges.SENSOR_NOISE),
            jpeg_quality=round(dice.roll(ranges.JPEG_QUALITY)),
        )


def inflamed(dice: Dice, look: Appearance) -> Array:
    """Colour of hyperaemic mucosa, which contracted folds share; RGB reflectance, float32 [3]."""
    hue_deg, saturation = look.hue_deg - dice.between(10, 20), look.saturation * dice.between(1.25, 1.5)
    return hsv(hue_deg, saturation, look.value * dice.between(0.68, 0.84))


def fibrin(dice: Dice, look: Appearance) -> Array:
    """Colour of fibrin, which glare and lymph-filled villi share; RGB reflectance, float32 [3]."""
    hue_deg = look.hue_deg + dice.roll(ranges.FIBRIN_SHIFT_DEG)
    return hsv(hue_deg, look.saturation * dice.between(0.5, 0.75), look.value * dice.between(0.94, 1.06))


def add_mucosa(canvas: Canvas, dice: Dice, look: Appearance) -> None:
    """Cover the canvas with normal wall: patchy hue, villi, vessels and a wet film."""
    base = hsv(look.hue_deg, look.saturation, look.value)
    deep = hsv(look.hue_deg + dice.between(-9, 5), look.saturation * 1.2, look.value * 0.88)
    canvas.albedo[...] = base[:, None, None]
    canvas.paint(deep, smoothstep(-1.6, 1.6, fractal_noise(dice.rng, canvas.shape, 4, octaves=2, gain=0.6)))
    grain = smooth_noise(dice.rng, canvas.shape, look.villi_cells)
    np.multiply(grain, look.villi_relief, out=canvas.grain)
    canvas.gloss[...] = dice.between(0.5, 1.0)
    _add_vessels(canvas, dice, look)


def _add_vessels(canvas: Canvas, dice: Dice, look: Appearance) -> None:
    """Draw vessels: the zero lines of a smooth field make a branching net of even width."""
    field = fractal_noise(dice.rng, canvas.shape, look.vessel_cells, octaves=2, gain=0.4)
    # The field's slope grows with its number of cells; dividing by it keeps the width in field radii.
    line = smoothstep(0.030, 0.0, np.abs(field) * (1 / (look.vessel_cells * 1.6)))
    present = smoothstep(0.0, 1.2, smooth_noise(dice.rng, canvas.shape, 4))
    red = hsv(look.hue_deg - 14, look.saturation * 1.35, look.value * 0.62)
    canvas.paint(red, line * present * look.vessel_opacity)


def add_folds(canvas: Canvas, dice: Dice, lumen: Site) -> Array:
    """Raise folds around the lumen and darken the creases between them.

    Returns:
        float32 [H, W], 1 on the crest of a fold and 0 between folds, for what sits on folds.
    """
    relief = dice.roll(ranges.FOLD_RELIEF)
    away = canvas.distance(Site(lumen.x, lumen.y, 1.0))
    warped = away * (1 + 0.22 * smooth_noise(dice.rng, canvas.shape, 3))
    warped += 0.05 * smooth_noise(dice.rng, canvas.shape, 6)
    # Perspective: folds crowd together towards the lumen, hence the logarithm.
    phase = np.log(np.maximum(warped, 0) + 0.45) * (2 * math.pi * dice.roll(ranges.FOLD_COUNT))
    phase += dice.between(0, 2 * math.pi)
    # The sine leans each fold over, so that one flank is steep.
    wave = 0.5 + 0.5 * np.cos(phase + 0.7 * np.sin(phase))
    present = smoothstep(-0.7, 1.0, smooth_noise(dice.rng, canvas.shape, 4))
    present *= smoothstep(lumen.radius * 0.6, lumen.radius * 1.5, away)
    crest: Array = wave * present
    canvas.raise_by(crest * relief)
    valley = 1 - wave
    canvas.darken(valley**2 * valley**2 * valley * present * min(0.5, relief * 6))
    swell = fractal_noise(dice.rng, canvas.shape, 2, octaves=3)
    canvas.raise_by(swell * dice.between(0.02, 0.06))
    return crest


def add_lumen(canvas: Canvas, dice: Dice, lumen: Site) -> None:
    """Let the light fade into the open lumen."""
    away = canvas.distance(lumen) + smooth_noise(dice.rng, canvas.shape, 5) * 0.14
    canvas.darken(smoothstep(1.3, 0.15, away) * dice.between(0.75, 0.93))

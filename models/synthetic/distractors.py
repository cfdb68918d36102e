"""Normal things with the colours of lesions, so that colour alone cannot tell them apart."""

import numpy as np

from models.synthetic import ranges
from models.synthetic.canvas import Canvas, Site, hsv, ring, smoothstep
from models.synthetic.mucosa import Appearance
from models.synthetic.noise import Array, fractal_noise, smooth_noise
from models.synthetic.ranges import Dice


def add_distractors(canvas: Canvas, dice: Dice, look: Appearance, crest: Array) -> None:
    """Add each distractor with its own chance, whatever lesions follow.

    Args:
        canvas: The scene, painted in place.
        dice: Random source.
        look: The patient.
        crest: float32 [H, W], folds from `add_folds`.
    """
    if dice.chance(0.55):
        _redden_folds(canvas, dice, look, crest)
    if dice.chance(0.5):
        _pale_patches(canvas, dice, look)
    if dice.chance(0.5):
        _swell(canvas, dice)
    if dice.chance(0.35):
        _tint(canvas, dice)
    if dice.chance(0.35):
        _flush(canvas, dice, look)


def _blob(canvas: Canvas, dice: Dice, *, radius: float) -> Array:
    """A soft patch without any border, float32 [H, W] in [0, 1]."""
    away = canvas.distance(Site(*dice.point(0.75), radius))
    return smoothstep(1.5, 0.0, away + smooth_noise(dice.rng, canvas.shape, 5) * 0.2)


def _redden_folds(canvas: Canvas, dice: Dice, look: Appearance, crest: Array) -> None:
    """Crests of folds look redder when the gut contracts."""
    red = hsv(look.hue_deg - dice.between(10, 20), look.saturation * 1.4, look.value * 0.8)
    where = _blob(canvas, dice, radius=dice.between(0.35, 0.7))
    canvas.paint(red, crest * where * dice.between(0.4, 0.9))


def _flush(canvas: Canvas, dice: Dice, look: Appearance) -> None:
    """A smooth flush of the colours of blood and erythema, without form."""
    red = hsv(dice.roll(ranges.BLOOD_HUE_DEG) + dice.between(0, 6), dice.between(0.65, 0.9), look.value * 0.7)
    canvas.paint(red, _blob(canvas, dice, radius=dice.between(0.15, 0.4)) * dice.between(0.3, 0.7))


def _pale_patches(canvas: Canvas, dice: Dice, look: Appearance) -> None:
    """Glare and lymph-filled villi: the colour of fibrin, without outline or red rim."""
    pale = hsv(dice.roll(ranges.FIBRIN_HUE_DEG), dice.between(0.2, 0.4), look.value * dice.between(0.9, 1.05))
    for _ in range(int(dice.rng.integers(1, 4))):
        patch = _blob(canvas, dice, radius=dice.between(0.1, 0.25))
        canvas.paint(pale, patch * dice.between(0.4, 0.8))


def _swell(canvas: Canvas, dice: Dice) -> None:
    """A dome-like bulge that fades into the wall, with the villi left on it."""
    radius = dice.between(0.3, 0.55)
    away = canvas.distance(Site(*dice.point(0.75), radius))
    canvas.raise_by(ring(away, 0.0, 0.7) * (radius * dice.between(0.2, 0.45)))


def _tint(canvas: Canvas, dice: Dice) -> None:
    """A wide yellowish cast without any content in it."""
    yellow = hsv(dice.roll(ranges.BILE_HUE_DEG), dice.between(0.5, 0.8), dice.between(0.55, 0.8))
    cast = smoothstep(-1.0, 1.8, fractal_noise(dice.rng, canvas.shape, 2, octaves=2))
    canvas.paint(yellow, np.minimum(cast, 1) * dice.between(0.25, 0.6))

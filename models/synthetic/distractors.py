"""Normal things with the colours of lesions, so that colour alone cannot tell them apart."""

import numpy as np

from models.synthetic import ranges
from models.synthetic.canvas import Canvas, Site, hsv, ring, smoothstep
from models.synthetic.mucosa import Appearance, fibrin, inflamed
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
    if dice.chance(0.6):
        _redden_folds(canvas, dice, look, crest)
    if dice.chance(0.5):
        _swell(canvas, dice)
    if dice.chance(0.35):
        _tint(canvas, dice)
    if dice.chance(0.35):
        _flush(canvas, dice)
    _redden_patches(canvas, dice, look)
    _pale_patches(canvas, dice, look)


def _paint_patch(canvas: Canvas, dice: Dice, rgb: Array, *, radius: float, opacity: float) -> None:
    """Paint a soft patch without any border."""
    site = Site(*dice.point(0.75), radius)
    part = canvas.window(*canvas.slices(site, reach=2.0))
    away = part.distance(site) + smooth_noise(dice.rng, part.shape, 5) * 0.2
    part.paint(rgb, smoothstep(1.5, 0.3, away) * opacity)


def _redden_folds(canvas: Canvas, dice: Dice, look: Appearance, crest: Array) -> None:
    """Crests of folds look redder when the gut contracts."""
    away = canvas.distance(Site(*dice.point(0.75), dice.between(0.35, 0.7)))
    canvas.paint(inflamed(dice, look), crest * smoothstep(1.5, 0.0, away) * dice.between(0.4, 1.0))


def _redden_patches(canvas: Canvas, dice: Dice, look: Appearance) -> None:
    """Suction marks and contraction: the colour of inflammation, without erosion or outline."""
    for _ in range(int(dice.rng.integers(0, 4))):
        radius, opacity = dice.between(0.12, 0.3), dice.between(0.5, 0.95)
        _paint_patch(canvas, dice, inflamed(dice, look), radius=radius, opacity=opacity)


def _pale_patches(canvas: Canvas, dice: Dice, look: Appearance) -> None:
    """Glare and lymph-filled villi: the colour of fibrin, without outline or red rim."""
    pale = fibrin(dice, look)
    for _ in range(int(dice.rng.integers(0, 4))):
        radius, opacity = dice.between(0.08, 0.22), dice.between(0.6, 1.0)
        _paint_patch(canvas, dice, pale, radius=radius, opacity=opacity)


def _flush(canvas: Canvas, dice: Dice) -> None:
    """A smooth flush of the colour of thin blood, without form."""
    red = hsv(dice.roll(ranges.BLOOD_HUE_DEG) + dice.between(0, 6), dice.between(0.65, 0.9), 0.6)
    _paint_patch(canvas, dice, red, radius=dice.between(0.15, 0.4), opacity=dice.between(0.3, 0.7))


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

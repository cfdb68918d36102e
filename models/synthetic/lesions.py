"""Polyp, inflammatory lesion and bleeding, each with the mask of what a reader would outline."""

import math

import numpy as np

from models.synthetic import ranges
from models.synthetic.canvas import Canvas, Mask, Site, hsv, ring, smoothstep
from models.synthetic.mucosa import Appearance, fibrin, inflamed
from models.synthetic.noise import Array, fractal_noise, smooth_noise
from models.synthetic.ranges import Dice


def add_polyp(canvas: Canvas, dice: Dice, look: Appearance, site: Site) -> Mask:
    """Raise a smooth dome of the mucosa's own hue with a clear border and a shadow at its foot.

    Returns:
        bool [H, W], shadowed foot included.
    """
    rows, columns = canvas.slices(site, reach=1.8)
    part = canvas.window(rows, columns)
    distance = part.distance(site, aspect=dice.roll(ranges.POLYP_ASPECT), angle=dice.between(0, math.pi))
    distance += smooth_noise(dice.rng, part.shape, 4) * 0.07
    inside = smoothstep(1.08, 0.92, distance)
    part.smooth(inside * 0.85)
    # The dome stands before the wall: folds and creases behind it do not show through.
    part.relief[...] *= 1 - inside * 0.85
    part.shade[...] += inside * 0.75 * (1 - part.shade)
    bulge = 1 - distance**2
    # Rounds the foot off over a few pixels, where a bare hemisphere would meet the wall in a hard line.
    dome = (0.5 * (bulge + np.sqrt(bulge * bulge + 0.02))) ** 0.75
    part.raise_by(dome * smoothstep(1.5, 1.1, distance) * (dice.roll(ranges.POLYP_HEIGHT) * site.radius))
    skin = hsv(
        look.hue_deg + dice.between(-4, 3),
        look.saturation * dice.between(0.9, 1.1),
        look.value * dice.between(0.97, 1.08),
    )
    part.paint(skin, inside * 0.5)
    pits = fractal_noise(dice.rng, part.shape, 14, octaves=2)
    part.albedo[...] *= 1 + 0.07 * pits * inside
    part.darken(ring(distance, 1.04, 0.13) * dice.between(0.3, 0.5))
    part.wet(inside)
    return _place(canvas, rows, columns, distance < 1.1)


def add_inflammatory(canvas: Canvas, dice: Dice, look: Appearance, site: Site) -> Mask:
    """Draw an ulcer, or an erythematous patch with erosions: fibrin, ragged outline, red rim.

    Returns:
        bool [H, W], red rim included.
    """
    rows, columns = canvas.slices(site, reach=2.0)
    part = canvas.window(rows, columns)
    ragged = fractal_noise(dice.rng, part.shape, 6, octaves=3, gain=0.55)
    ragged *= dice.roll(ranges.ULCER_RAGGEDNESS)
    oval = part.distance(site, aspect=dice.between(0.6, 1.0), angle=dice.between(0, math.pi))
    outline = oval + ragged * 0.6
    part.paint(inflamed(dice, look), smoothstep(1.25, 0.7, outline) * dice.between(0.5, 0.75))
    part.raise_by(smoothstep(1.2, 0.6, outline) * (0.10 * site.radius))
    for crater in _craters(dice, site):
        _add_crater(part, dice, look, crater, part.distance(crater) + ragged * 1.3)
    return _place(canvas, rows, columns, outline < 1.0)


def _craters(dice: Dice, site: Site) -> list[Site]:
    """One ulcer in the middle, or three to five erosions spread over the patch."""
    if dice.chance(0.6):
        return [Site(site.x, site.y, site.radius * dice.between(0.46, 0.6))]
    count = int(dice.rng.integers(3, 6))
    turn, reach = dice.between(0, 2 * math.pi), site.radius * 0.55
    angles = [turn + 2 * math.pi * index / count for index in range(count)]
    return [
        Site(
            site.x + reach * math.cos(a), site.y + reach * math.sin(a), site.radius * dice.between(0.2, 0.28)
        )
        for a in angles
    ]


def _add_crater(part: Canvas, dice: Dice, look: Appearance, crater: Site, distance: Array) -> None:
    """Dig one ulcer: swollen red rim, sunken floor, pale mottled fibrin."""
    floor = smoothstep(1.10, 0.80, distance)
    rim = ring(distance, 1.22, 0.22)
    part.smooth(np.maximum(floor, rim))
    part.raise_by((rim - floor) * (0.12 * crater.radius))
    part.paint(inflamed(dice, look), rim * 0.6)
    mottle = smoothstep(-1.6, 1.2, fractal_noise(dice.rng, part.shape, 14, octaves=2))
    part.paint(fibrin(dice, look), floor * (0.45 + 0.5 * mottle))


def add_bleeding(canvas: Canvas, dice: Dice, look: Appearance, site: Site) -> Mask:
    """Spill fresh blood: a glossy red film, pool or streak with dark clots and irregular edges.

    Returns:
        bool [H, W].
    """
    rows, columns = canvas.slices(site, reach=2.2)
    part = canvas.window(rows, columns)
    aspect = dice.between(0.35, 0.6) if dice.chance(0.35) else dice.between(0.7, 1.0)
    outline = part.distance(site, aspect=aspect, angle=dice.between(0, math.pi))
    outline += fractal_noise(dice.rng, part.shape, 5, octaves=4, gain=0.6) * (
        dice.roll(ranges.BLEEDING_RAGGEDNESS) * 0.6
    )
    film, depth = smoothstep(1.15, 0.85, outline), smoothstep(1.0, 0.1, outline)
    hue = dice.roll(ranges.BLOOD_HUE_DEG)
    fresh, dark = hsv(hue, 0.94, look.value * 0.74), hsv(hue - 3, 0.92, look.value * 0.34)
    part.paint(fresh, film * (0.72 + 0.2 * depth))
    clots = smoothstep(0.4, 1.2, fractal_noise(dice.rng, part.shape, 8, octaves=2)) * film
    part.paint(dark, np.maximum(depth * 0.4, clots * 0.85))
    part.smooth(film * 0.9)
    part.raise_by(clots * 0.014 + film * 0.012)
    part.wet(film)
    return _place(canvas, rows, columns, outline < 1.0)


def _place(canvas: Canvas, rows: slice, columns: slice, part: Mask) -> Mask:
    """Set a window's mask into a full one."""
    mask = np.zeros(canvas.shape, dtype=np.bool_)
    mask[rows, columns] = part
    return mask

"""Intestinal content: bubbles, bile and debris between the lens and the wall."""

import numpy as np

from models.synthetic import ranges
from models.synthetic.canvas import Canvas, Mask, Site, hsv, ring, smoothstep
from models.synthetic.noise import Array, fractal_noise, smooth_noise
from models.synthetic.ranges import Dice


def add_content(canvas: Canvas, dice: Dice, site: Site) -> Mask:
    """Lay bubbles, bile, debris or bubbly bile around a site.

    Returns:
        bool [H, W].
    """
    kind = dice.rng.choice(["bubbles", "bile", "debris", "bubbly bile"])
    mask = np.zeros(canvas.shape, dtype=np.bool_)
    if kind in ("bile", "bubbly bile"):
        mask |= _add_bile(canvas, dice, site)
    if kind == "debris":
        mask |= _add_debris(canvas, dice, site)
    if kind in ("bubbles", "bubbly bile"):
        mask |= _add_bubbles(canvas, dice, site)
    return mask


def _add_bile(canvas: Canvas, dice: Dice, site: Site) -> Mask:
    """Pool a translucent yellow-green film that hides the villi and glints at its edge."""
    outline = canvas.distance(site) + fractal_noise(dice.rng, canvas.shape, 5, octaves=3) * 0.22
    film, depth = smoothstep(1.15, 0.85, outline), smoothstep(1.0, 0.2, outline)
    bile = hsv(dice.roll(ranges.BILE_HUE_DEG), dice.between(0.65, 0.9), dice.between(0.5, 0.78))
    swirl = smooth_noise(dice.rng, canvas.shape, 9) * 0.08
    canvas.paint(bile, film * np.clip(0.55 + 0.3 * depth + swirl, 0, 1))
    canvas.smooth(film * 0.8)
    canvas.raise_by(film * 0.012 + ring(outline, 1.0, 0.05) * 0.006)
    canvas.darken(ring(outline, 1.08, 0.07) * 0.35)
    canvas.wet(film)
    return outline < 1.1


def _add_debris(canvas: Canvas, dice: Dice, site: Site) -> Mask:
    """Scatter flakes and clumps of food, brown to yellowish white, that cast small shadows.

    Returns:
        bool [H, W], the littered patch with the gaps between the flakes.
    """
    distance = canvas.distance(site)
    clumps = fractal_noise(dice.rng, canvas.shape, 22, octaves=3, gain=0.7)
    level = clumps + smoothstep(1.3, 0.3, distance) * 2.2 - 1.7
    near = smoothstep(1.1, 1.0, distance)
    flakes, shadow = smoothstep(0.0, 0.25, level) * near, smoothstep(-0.5, 0.0, level) * near
    canvas.darken(0.35 * (shadow - flakes))
    canvas.paint(hsv(dice.between(36, 54), 0.55, dice.between(0.5, 0.85)), flakes)
    canvas.albedo[...] *= 1 + 0.12 * flakes * smooth_noise(dice.rng, canvas.shape, 40)
    canvas.raise_by(flakes * np.maximum(level, 0) * 0.012)
    return distance < 1.1


def _add_bubbles(canvas: Canvas, dice: Dice, site: Site) -> Mask:
    """Crowd round bubbles together.

    Returns:
        bool [H, W], the cluster with the gaps between its bubbles.
    """
    mask = np.zeros(canvas.shape, dtype=np.bool_)
    for _ in range(int(dice.rng.integers(22, 42))):
        # Small bubbles outnumber large ones.
        radius = dice.roll(ranges.BUBBLE_RADIUS) * dice.between(0.4, 1.0)
        x, y = dice.point(site.radius)
        bubble = Site(site.x + x, site.y + y, radius)
        rows, columns = canvas.slices(bubble, reach=1.6)
        mask[rows, columns] |= _add_bubble(canvas.window(rows, columns), bubble) < 1.5
    return mask


def _add_bubble(part: Canvas, bubble: Site) -> Array:
    """Draw one bubble in its window: dark outline, bright inner ring, highlight, clear inside.

    Returns:
        float32 [H, W], distance from its centre in its radii.
    """
    distance = part.distance(bubble)
    inside = smoothstep(1.0, 0.94, distance)
    part.smooth(inside * 0.6)
    part.darken(ring(distance, 0.97, 0.13) * 0.45)
    white = np.ones(3, dtype=np.float32)
    towards_lamp = smoothstep(-0.6, 1.0, (bubble.x - part.x + bubble.y - part.y) / bubble.radius)
    part.paint(white, ring(distance, 0.78, 0.10) * (0.25 + 0.55 * towards_lamp))
    shift = bubble.radius * 0.42
    spot = part.distance(Site(bubble.x - shift, bubble.y - shift, bubble.radius))
    part.paint(white, ring(spot, 0.0, 0.16) * 0.95)
    part.albedo[...] += inside * 0.04
    return distance

"""From surface to picture: lamp, wet highlights, vignette, motion blur, sensor."""

import math

import numpy as np
from numpy.typing import NDArray

from models.synthetic import ranges
from models.synthetic.canvas import Canvas, smoothstep
from models.synthetic.mucosa import Appearance
from models.synthetic.noise import Array, smooth_noise
from models.synthetic.ranges import Dice


def _slopes(height: Array, pitch: float) -> tuple[Array, Array]:
    """Central differences dh/dx, dh/dy of a height field; zero on the border."""
    slope_x, slope_y = np.zeros_like(height), np.zeros_like(height)
    np.subtract(height[:, 2:], height[:, :-2], out=slope_x[:, 1:-1])
    np.subtract(height[2:], height[:-2], out=slope_y[1:-1])
    slope_x *= 0.5 / pitch
    slope_y *= 0.5 / pitch
    return slope_x, slope_y


def light(canvas: Canvas, dice: Dice) -> Array:
    """Light the scene with a lamp beside the lens (Lambert diffuse, Blinn highlight).

    Returns:
        float32 [3, H, W], linear in the sensor, mostly in [0, 1].
    """
    slope_x, slope_y = _slopes(canvas.relief + canvas.grain, canvas.pitch)
    facing = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    tilt, angle = dice.roll(ranges.LIGHT_TILT), dice.between(0, 2 * math.pi)
    # The lamp sits close to the wall, so its direction turns across the field.
    lamp_x = tilt * math.cos(angle) - 0.35 * canvas.x
    lamp_y = tilt * math.sin(angle) - 0.35 * canvas.y
    lean = lamp_x * slope_x + lamp_y * slope_y
    diffuse = canvas.shade * np.clip(0.22 + 0.78 * facing * (1 - lean), 0.12, 1.3)
    # The half vector of lamp and lens leans half as far as the lamp.
    aligned = facing * (1 - 0.5 * lean) / np.sqrt(1 + 0.25 * (lamp_x * lamp_x + lamp_y * lamp_y))
    film = smoothstep(0.0, 1.8, smooth_noise(dice.rng, canvas.shape, 9))
    glint = smoothstep(0.9955, 0.9998, aligned) * canvas.gloss * canvas.shade * (0.1 + 0.7 * film)
    picture: Array = canvas.albedo * diffuse + glint
    return picture


def expose(picture: Array, canvas: Canvas, dice: Dice, look: Appearance) -> NDArray[np.uint8]:
    """Turn light into a frame: vignette, motion blur, noise, round field on black.

    Args:
        picture: float32 [3, H, W] from `light`.
        canvas: The scene, for its grid.
        dice: Random source.
        look: Capsule of the patient.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    from_axis = canvas.x**2 + canvas.y**2
    picture = picture * (dice.between(0.88, 1.12) * (1 - dice.between(0.25, 0.5) * from_axis))
    if dice.chance(0.35):
        picture = _motion_blur(picture, dice)
    picture += dice.rng.standard_normal(canvas.shape, dtype=np.float32) * look.sensor_noise
    picture *= smoothstep(1.0, 1.0 - 3 * canvas.pitch, np.sqrt(from_axis)) * 255
    np.clip(picture, 0, 255, out=picture)
    return np.ascontiguousarray(np.rint(picture).astype(np.uint8).transpose(1, 2, 0))


def _motion_blur(picture: Array, dice: Dice) -> Array:
    """Average copies along the direction of a small camera movement (at most 1.5 % of the side)."""
    length = picture.shape[1] * dice.between(0.004, 0.015)
    angle = dice.between(0, math.pi)
    steps = [length * position for position in (-0.5, -0.25, 0.0, 0.25, 0.5)]
    shifts = {(round(step * math.sin(angle)), round(step * math.cos(angle))) for step in steps}
    blurred = np.zeros_like(picture)
    for shift in sorted(shifts):
        blurred += np.roll(picture, shift, axis=(1, 2))
    blurred /= len(shifts)
    return blurred

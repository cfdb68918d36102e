"""Band-limited random fields: a coarse grid of normals enlarged by cubic B-splines.

Two small matrix products make one field, which is some twenty times faster than filtering white noise.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# float32 throughout; numpy's stubs widen `0.5 * array`, hence the wider type.
Array = NDArray[np.floating]


@lru_cache(maxsize=4096)
def _spline_basis(length: int, cells: int) -> Array:
    """Uniform cubic B-spline weights, float32 [length, cells + 3], scaled to unit mean power per row."""
    position = (np.arange(length) + 0.5) / length * cells
    left = np.minimum(position.astype(int), cells - 1)
    t = position - left
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1
    )
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    basis = np.zeros((length, cells + 3), dtype=np.float32)
    np.put_along_axis(basis, left[:, None] + np.arange(4), weights.astype(np.float32), axis=1)
    return basis


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> Array:
    """Draw a smooth field of zero mean and unit variance.

    Args:
        rng: Seeded generator.
        shape: Rows and columns of the field.
        cells: Number of independent patches along each side, at least 1.

    Returns:
        float32 [rows, columns].
    """
    grid = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    field: Array = _spline_basis(shape[0], cells) @ grid @ _spline_basis(shape[1], cells).T
    return field


def fractal_noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: int, *, octaves: int = 3, gain: float = 0.5
) -> Array:
    """Sum octaves of smooth noise, each twice as fine and `gain` times as strong; unit variance."""
    field = np.zeros(shape, dtype=np.float32)
    power = 0.0
    for octave in range(octaves):
        field += gain**octave * smooth_noise(rng, shape, cells * 2**octave)
        power += gain ** (2 * octave)
    field /= math.sqrt(power)
    return field

"""The scene before it is lit: relief, reflectance, grain and gloss on one square grid."""

import colorsys
import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.synthetic.noise import Array

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Site:
    """A round place in the field: centre and radius in field radii, y downwards."""

    x: float
    y: float
    radius: float

    def gap(self, other: "Site") -> float:
        """Free distance between two sites in field radii; negative where they overlap."""
        return math.hypot(self.x - other.x, self.y - other.y) - self.radius - other.radius


@dataclass(frozen=True)
class Canvas:
    """Surface of the gut wall seen by the capsule; its arrays are painted in place.

    Attributes:
        x: float32 [1, W], column positions in field radii.
        y: float32 [H, 1], row positions in field radii.
        relief: float32 [H, W], height towards the camera in field radii.
        grain: float32 [H, W], fine height of the villi in field radii.
        albedo: float32 [3, H, W], diffuse reflectance, RGB in [0, 1].
        gloss: float32 [H, W], strength of the wet highlight in [0, 1].
        shade: float32 [H, W], share of the light that reaches the place, in [0, 1].
    """

    x: Array
    y: Array
    relief: Array
    grain: Array
    albedo: Array
    gloss: Array
    shade: Array

    @classmethod
    def blank(cls, size: int, field_radius: float) -> Self:
        """Make a flat black canvas; `field_radius` is a fraction of half the side."""
        axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) / field_radius
        planes = np.zeros((7, size, size), dtype=np.float32)
        planes[6] = 1
        return cls(axis[None, :], axis[:, None], planes[0], planes[1], planes[2:5], planes[5], planes[6])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.relief.shape[0], self.relief.shape[1]

    @property
    def pitch(self) -> float:
        """Distance of two pixels in field radii."""
        return float(self.x[0, 1] - self.x[0, 0])

    def slices(self, site: Site, *, reach: float) -> tuple[slice, slice]:
        """Rows and columns within `reach` radii of a site."""
        extent = site.radius * reach
        rows = np.searchsorted(self.y[:, 0], [site.y - extent, site.y + extent])
        columns = np.searchsorted(self.x[0], [site.x - extent, site.x + extent])
        return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))

    def window(self, rows: slice, columns: slice) -> "Canvas":
        """A part of this canvas that shares its memory, so that small things cost little."""
        planes = (self.relief, self.grain, self.albedo, self.gloss, self.shade)
        return Canvas(self.x[:, columns], self.y[rows], *(plane[..., rows, columns] for plane in planes))

    def distance(self, site: Site, *, aspect: float = 1.0, angle: float = 0.0) -> Array:
        """Distance from a site in its radii, float32 [H, W]: 1 on an ellipse of the site's area.

        Args:
            site: The place.
            aspect: Short axis over long axis of the ellipse.
            angle: Direction of the long axis in radians.
        """
        dx, dy = self.x - site.x, self.y - site.y
        stretch, scale = math.sqrt(aspect), 1 / site.radius
        cos, sin = math.cos(angle), math.sin(angle)
        along = dx * (cos * stretch * scale) + dy * (sin * stretch * scale)
        across = dy * (cos / stretch * scale) - dx * (sin / stretch * scale)
        along *= along
        across *= across
        along += across
        distance: Array = np.sqrt(along, out=along)
        return distance

    def paint(self, rgb: Array, opacity: Array) -> None:
        """Lay a colour [3] over the reflectance; `opacity` float32 [H, W] in [0, 1]."""
        # Channel by channel: numpy is several times slower with an inner axis of three.
        for channel, reflectance in zip(self.albedo, rgb, strict=True):
            change = reflectance - channel
            change *= opacity
            np.add(channel, change, out=channel)

    def raise_by(self, height: Array) -> None:
        """Add height towards the camera, float32 [H, W] in field radii."""
        np.add(self.relief, height, out=self.relief)

    def smooth(self, opacity: Array) -> None:
        """Take the villi away where `opacity` is 1."""
        np.multiply(self.grain, 1 - opacity, out=self.grain)

    def darken(self, opacity: Array) -> None:
        """Keep the light off where `opacity` is 1."""
        np.multiply(self.shade, 1 - opacity, out=self.shade)

    def wet(self, opacity: Array) -> None:
        """Make the surface at least this glossy."""
        np.maximum(self.gloss, opacity, out=self.gloss)


def hsv(hue_deg: float, saturation: float, value: float) -> Array:
    """Convert a colour to RGB reflectance, float32 [3]; saturation and value are clipped to 1."""
    rgb = colorsys.hsv_to_rgb(hue_deg % 360 / 360, min(1.0, saturation), min(1.0, value))
    return np.array(rgb, dtype=np.float32)


def smoothstep(low: float, high: float, value: Array) -> Array:
    """Rise smoothly from 0 at `low` to 1 at `high`; falls where `low > high`."""
    t = value - low
    t *= 1 / (high - low)
    np.clip(t, 0, 1, out=t)
    # In place: at this size every temporary array costs as much as the arithmetic.
    result: Array = t * -2
    result += 3
    t *= t
    result *= t
    return result


def ring(distance: Array, radius: float, width: float) -> Array:
    """Gaussian ring: 1 where `distance` equals `radius`."""
    offset = (distance - radius) * (1 / width)
    result: Array = np.exp(-offset * offset)
    return result

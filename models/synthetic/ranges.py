"""The one table of what differs between training and test frames.

A detector that only memorises the training look must fail on the test frames, so hue, texture and shape
ranges are shifted against each other. Lengths are in field radii, angles in degrees, relief in field radii,
reflectances and opacities in [0, 1].
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

Domain = Literal["train", "test"]


@dataclass(frozen=True)
class Range:
    """Uniform range of one drawing parameter in each domain."""

    train: tuple[float, float]
    test: tuple[float, float]


# Hue: the test mucosa is pinker, paler and lit differently.
MUCOSA_HUE_DEG: Final = Range(train=(15, 36), test=(6, 24))
MUCOSA_SATURATION: Final = Range(train=(0.42, 0.68), test=(0.32, 0.56))
MUCOSA_VALUE: Final = Range(train=(0.76, 0.98), test=(0.70, 0.92))
BLOOD_HUE_DEG: Final = Range(train=(0, 9), test=(-7, 4))
FIBRIN_SHIFT_DEG: Final = Range(train=(8, 18), test=(5, 14))
BILE_HUE_DEG: Final = Range(train=(46, 62), test=(54, 74))

# Texture: coarser villi, more vessels, noisier sensor in the test domain.
VILLI_CELLS: Final = Range(train=(64, 104), test=(48, 80))
VILLI_RELIEF: Final = Range(train=(0.0012, 0.0040), test=(0.0020, 0.0052))
VESSEL_CELLS: Final = Range(train=(7, 11), test=(9, 14))
VESSEL_OPACITY: Final = Range(train=(0.0, 0.28), test=(0.08, 0.36))
SENSOR_NOISE: Final = Range(train=(0.004, 0.014), test=(0.008, 0.020))
JPEG_QUALITY: Final = Range(train=(84, 95), test=(76, 90))

# Shape: other fold spacing and light, flatter and less round lesions in the test domain.
FIELD_RADIUS: Final = Range(train=(0.95, 0.99), test=(0.92, 0.97))
FOLD_COUNT: Final = Range(train=(2.0, 4.0), test=(3.0, 5.5))
FOLD_RELIEF: Final = Range(train=(0.02, 0.10), test=(0.03, 0.08))
LIGHT_TILT: Final = Range(train=(0.05, 0.32), test=(0.15, 0.42))
POLYP_RADIUS: Final = Range(train=(0.19, 0.29), test=(0.18, 0.28))
POLYP_ASPECT: Final = Range(train=(0.78, 1.0), test=(0.66, 0.90))
POLYP_HEIGHT: Final = Range(train=(0.55, 0.85), test=(0.48, 0.72))
ULCER_RADIUS: Final = Range(train=(0.21, 0.31), test=(0.20, 0.30))
ULCER_RAGGEDNESS: Final = Range(train=(0.16, 0.30), test=(0.22, 0.36))
BLEEDING_RADIUS: Final = Range(train=(0.20, 0.32), test=(0.20, 0.30))
BLEEDING_RAGGEDNESS: Final = Range(train=(0.30, 0.50), test=(0.38, 0.60))
BUBBLE_RADIUS: Final = Range(train=(0.05, 0.14), test=(0.045, 0.12))


@dataclass(frozen=True)
class Dice:
    """A seeded generator that knows its domain."""

    rng: np.random.Generator
    domain: Domain

    def roll(self, span: Range) -> float:
        """Draw one parameter from the range of this domain."""
        return self.between(*(span.train if self.domain == "train" else span.test))

    def between(self, low: float, high: float) -> float:
        """Draw from a range that both domains share."""
        return float(self.rng.uniform(low, high))

    def point(self, reach: float) -> tuple[float, float]:
        """Draw a point evenly from a disc of radius `reach` around the centre."""
        distance, angle = reach * math.sqrt(self.rng.random()), self.between(0, 2 * math.pi)
        return distance * math.cos(angle), distance * math.sin(angle)

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return bool(self.rng.random() < probability)

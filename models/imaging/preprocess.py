"""From a decoded frame to the square a network reads, and back to the frame's own pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Stored in every model's spec: training and serving must resize alike. Pillow's BILINEAR is a triangle whose
# support grows with the scale, so it does not alias; torch's `interpolate(antialias=True)` is its twin.
KERNEL = "centre-pad-black/pillow-bilinear-antialias/1"


@dataclass(frozen=True)
class SquareMap:
    """Where a frame of `width_px` x `height_px` lies in its square of `size_px`.

    Coordinates are continuous: pixel (0, 0) covers [0, 1) x [0, 1), in the frame and in the square.
    """

    width_px: int
    height_px: int
    size_px: int

    @property
    def scale(self) -> float:
        """Frame pixels per pixel of the square."""
        return max(self.width_px, self.height_px) / self.size_px

    @property
    def pad_px(self) -> tuple[int, int]:
        """Black columns left of and rows above the frame, in frame pixels."""
        side = max(self.width_px, self.height_px)
        return (side - self.width_px) // 2, (side - self.height_px) // 2

    def point_to_frame(self, x: float, y: float) -> tuple[float, float]:
        """A point of the square in frame pixels; one in the padding moves to the frame's edge."""
        left, top = self.pad_px
        return (
            min(max(x * self.scale - left, 0.0), float(self.width_px)),
            min(max(y * self.scale - top, 0.0), float(self.height_px)),
        )

    def box_to_frame(self, x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
        """A box (left, top, width, height) of the square in frame pixels, clipped to the frame."""
        left, top = self.point_to_frame(x, y)
        right, bottom = self.point_to_frame(x + w, y + h)
        return left, top, right - left, bottom - top


def fit_square(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Pad a frame with black to a centred square and resize it.

    Args:
        rgb: uint8 [height, width, 3], RGB, 0 to 255.
        size: side of the result, in pixels, at least 1.

    Returns:
        uint8 [size, size, 3], RGB; a new contiguous array.

    Raises:
        ValueError: `rgb` is not a non-empty uint8 [height, width, 3], or `size` is below 1.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape or size < 1:
        raise ValueError("a frame is a non-empty uint8 [height, width, 3] and a size at least 1")
    height, width = rgb.shape[:2]
    left, top = SquareMap(width, height, size).pad_px
    if height != width:
        side = max(height, width)
        square = np.zeros((side, side, 3), np.uint8)
        square[top : top + height, left : left + width] = rgb
        rgb = square
    if rgb.shape[0] == size:
        return np.ascontiguousarray(rgb) if height != width else rgb.copy()
    # Of a mode the array interface knows, so no copy is made on the way in.
    resized = Image.fromarray(np.ascontiguousarray(rgb)).resize((size, size), Image.Resampling.BILINEAR)
    return np.array(resized)

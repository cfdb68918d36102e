"""Reading a class activation map: where it peaks and the box about it, in pixels of the square frame."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Float32 = npt.NDArray[np.float32]
# Zhou et al. (CVPR 2016) cut at a fifth of the peak, for single large objects; lesions are small.
BOX_FRACTION = 0.5


def upsample(cam_hw: Float32, size: int) -> Float32:
    """Bilinear upsampling of a map [h, w] to [size, size]; cell centres keep their values, edges are held."""
    rows, columns = (_interpolation(length, size) for length in cam_hw.shape)
    return (rows @ cam_hw @ columns.T).astype(np.float32)


def peak(cam_hw: Float32, size: int) -> tuple[float, float]:
    """Where the map is highest, as continuous pixel coordinates (x, y) in a frame of size x size.

    A cell is large beside a small lesion, so along each axis a parabola through the highest cell and its two
    neighbours says where in the cell the summit lies, at most half a cell from its centre.
    """
    row, column = divmod(int(np.argmax(cam_hw)), cam_hw.shape[1])
    y = row + 0.5 + _summit(cam_hw[:, column], row)
    x = column + 0.5 + _summit(cam_hw[row], column)
    return x * size / cam_hw.shape[1], y * size / cam_hw.shape[0]


def box(cam_hw: Float32, size: int, *, fraction: float = BOX_FRACTION) -> tuple[int, int, int, int] | None:
    """Box (x, y, width, height) of the region about the peak above a fraction of it.

    Args:
        cam_hw: activation map in logit units.
        size: side of the square frame in pixels.
        fraction: of the peak, 0..1.

    Returns:
        Whole pixels inside the frame; None where nothing on the map speaks for the label (peak <= 0).
    """
    full = upsample(cam_hw, size)
    highest = float(full.max())
    if highest <= 0:
        return None
    regions, _ = ndimage.label(full >= fraction * highest)
    rows, columns = ndimage.find_objects(regions)[regions.flat[int(np.argmax(full))] - 1]
    return columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start


def region(cam_hw: Float32, size: int, *, fraction: float = BOX_FRACTION) -> npt.NDArray[np.bool_]:
    """Bool [size, size]: where the map reaches a fraction of its peak; nowhere if it speaks for nothing."""
    full = upsample(cam_hw, size)
    highest = float(full.max())
    return np.asarray((full >= fraction * highest) & (highest > 0))


def _summit(values: Float32, index: int) -> float:
    """Offset of the parabola's summit from the highest of its three points; 0 at an edge and on a plateau."""
    if not 0 < index < len(values) - 1:
        return 0.0
    before, here, after = (float(value) for value in values[index - 1 : index + 2])
    curvature = before - 2 * here + after
    return 0.5 * (before - after) / curvature if curvature < 0 else 0.0


def _interpolation(length: int, size: int) -> Float32:
    """Matrix [size, length] that samples a row of cells at pixel centres."""
    place = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    below = np.minimum(place.astype(int), max(length - 2, 0))
    matrix = np.zeros((size, length), np.float32)
    matrix[np.arange(size), below] = 1 - (place - below)
    if length > 1:
        matrix[np.arange(size), below + 1] = place - below
    return matrix

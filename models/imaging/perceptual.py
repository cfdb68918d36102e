"""Perceptual hashes: frames that look alike have hashes that differ in few bits."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_BITS = 64
_ROWS, _COLUMNS = 8, 9


def difference_hash(rgb: NDArray[np.uint8]) -> int:
    """Whether grey rises from each cell of an 8 x 9 grid to its right neighbour (dHash, Krawetz 2013).

    Blind to brightness, contrast, scale and light compression; not to turns and mirror images.

    Args:
        rgb: uint8 [H, W, 3].

    Returns:
        64 bits as a signed integer, row by row from the top left; a frame of one colour gives 0.
    """
    small = Image.fromarray(rgb).convert("L").resize((_COLUMNS, _ROWS), Image.Resampling.BOX)
    grey = np.asarray(small).astype(np.int16)
    rises = np.packbits(grey[:, 1:] > grey[:, :-1])
    return int.from_bytes(rises.tobytes(), "big", signed=True)


def distances(one_M: NDArray[np.int64], other_N: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Number of differing bits, uint8 [M, N], between hashes int64 [M] and [N]."""
    # As unsigned: of a signed integer NumPy counts the bits of the magnitude.
    differing_MN = one_M.view(np.uint64)[:, None] ^ other_N.view(np.uint64)[None, :]
    return np.asarray(np.bitwise_count(differing_MN), dtype=np.uint8)

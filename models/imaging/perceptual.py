"""Perceptual hashes: frames that look alike have hashes that differ in few bits."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_BITS = 64
_ROWS, _COLUMNS = 8, 9
TURNS = 8  # four quarter turns of a frame and of its mirror image


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


def turned_hashes(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The hashes of a frame in all eight turns: four quarter turns, then those of its mirror image.

    They are taken from one small grey image, so each may differ in a bit or two from `difference_hash` of the
    frame turned at full size.

    Args:
        rgb: uint8 [H, W, 3].

    Returns:
        int64 [8]; the first is the frame as it is.
    """
    side = _ROWS * _COLUMNS
    small = Image.fromarray(rgb).convert("L").resize((side, side), Image.Resampling.BOX)
    grey = np.asarray(small).astype(np.float32)
    turns = np.stack([np.rot90(image, turn) for image in (grey, grey[:, ::-1]) for turn in range(4)])
    cells = np.rint(turns.reshape(TURNS, _ROWS, _COLUMNS, _COLUMNS, _ROWS).mean(axis=(2, 4)))
    rises = np.packbits((cells[:, :, 1:] > cells[:, :, :-1]).reshape(TURNS, HASH_BITS), axis=1)
    return rises.view(">i8")[:, 0].astype(np.int64)


def upside_down(hashes_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The hashes, int64 [N], of the same frames upside down (mirrored, not turned): the rows in reverse."""
    return hashes_N.byteswap()


def distances(one_M: NDArray[np.int64], other_N: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Number of differing bits, uint8 [M, N], between hashes int64 [M] and [N]."""
    # As unsigned: of a signed integer NumPy counts the bits of the magnitude.
    differing_MN = one_M.view(np.uint64)[:, None] ^ other_N.view(np.uint64)[None, :]
    return np.asarray(np.bitwise_count(differing_MN), dtype=np.uint8)

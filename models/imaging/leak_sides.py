"""What the leak check compares: the frames of one side of a split, as far as they are at hand."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.imaging.datasets import DatasetDamaged
from models.imaging.mixture import Frames
from models.imaging.preprocess import SquareMap

# Of a name's digits this many at a time: more would be a number that Python refuses to read.
_NUMBERS = re.compile(r"([0-9]{1,18})")


@dataclass(frozen=True)
class Side:
    """Frames on one side of a split; None is what nobody knows.

    Attributes:
        groups_N: patient, video or block of each frame, "" where it is not known.
        names_N: the name each frame came under.
        hashes_N: SHA-256 of each frame's bytes.
        looks_N: int64, `perceptual.difference_hash` of each frame.
        labels_NK: int8, 1, 0 or -1 for unknown.
        embeddings_ND: float32, of the model that is judged.
        frame: gives the pixels of a frame by its place on this side, uint8 [H, W, 3].
    """

    groups_N: NDArray[np.str_]
    names_N: NDArray[np.str_] | None = None
    hashes_N: NDArray[np.str_] | None = None
    looks_N: NDArray[np.int64] | None = None
    labels_NK: NDArray[np.int8] | None = None
    embeddings_ND: NDArray[np.float32] | None = None
    frame: Callable[[int], NDArray[np.uint8]] | None = None

    def __post_init__(self) -> None:
        known = (self.names_N, self.hashes_N, self.looks_N, self.labels_NK, self.embeddings_ND)
        if any(values is not None and len(values) != len(self) for values in known):
            raise ValueError("a side has one value of each kind for every frame")

    def __len__(self) -> int:
        return len(self.groups_N)


def side_of(
    dataset: Frames,
    rows_N: NDArray[np.int64],
    *,
    pixels_NHWC: NDArray[np.uint8],
    labels_NK: NDArray[np.int8],
    embeddings_ND: NDArray[np.float32] | None = None,
) -> Side:
    """Some frames of a dataset.

    Args:
        dataset: where the frames are from.
        rows_N: their ordinals.
        pixels_NHWC: uint8, every frame of the dataset in its square.
        labels_NK: of every frame.
        embeddings_ND: of the chosen frames.
    """
    sizes_px = dataset.sizes_px()[rows_N]
    return Side(
        groups_N=dataset.groups()[rows_N],
        names_N=dataset.names()[rows_N],
        hashes_N=dataset.hashes()[rows_N],
        looks_N=dataset.looks()[rows_N],
        labels_NK=labels_NK[rows_N],
        embeddings_ND=embeddings_ND,
        frame=lambda place: _unpadded(pixels_NHWC[rows_N[place]], sizes_px[place]),
    )


def side_of_index(path: Path) -> Side:
    """All frames of a dataset of which nothing but `index.parquet` is at hand.

    Raises:
        DatasetDamaged: it cannot be read, or was made before frames had perceptual hashes.
    """
    try:
        table = pq.read_table(path, columns=["group", "name", "sha256", "look"])
        groups, names, hashes = (
            np.array(table[column].to_pylist(), dtype=np.str_) for column in ("group", "name", "sha256")
        )
        return Side(groups, names, hashes, np.asarray(table["look"].to_numpy(), np.int64))
    except (OSError, KeyError, pa.ArrowException):
        raise DatasetDamaged("the index cannot be read, or has other columns") from None


def in_order(*sides: Side) -> list[tuple[object, ...]]:
    """A sort key for every frame of the sides, one after another, that puts neighbours side by side.

    It is group, then name, with the numbers in them by value.
    """
    keys: list[tuple[object, ...]] = []
    for side in sides:
        names = side.groups_N if side.names_N is None else side.names_N
        pairs = zip(side.groups_N.tolist(), names.tolist(), strict=True)
        keys += [(_natural(group), _natural(name)) for group, name in pairs]
    return keys


def _natural(text: str) -> tuple[object, ...]:
    # Text and digits alternate, text first: equal places always hold what can be compared.
    return tuple(int(part) if number % 2 else part for number, part in enumerate(_NUMBERS.split(text)))


def _unpadded(square: NDArray[np.uint8], size_px: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The frame itself, without the black that made it a square."""
    place = SquareMap(int(size_px[0]), int(size_px[1]), len(square))
    left, top = (round(pad / place.scale) for pad in place.pad_px)
    width, height = (max(1, round(length / place.scale)) for length in size_px.tolist())
    return square[top : top + height, left : left + width]

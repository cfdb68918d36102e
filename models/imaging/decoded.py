"""A dataset of frames as one array: each frame decoded once, squared, and kept as uint8 in a file."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.events import Event, Progress
from models.imaging.decode import decode_frame, decode_mask
from models.imaging.mixture import Frames
from models.imaging.preprocess import SquareMap, fit_square

# Lesion coverage is kept on this grid: finer than any activation map, a thousandth of the frame's bytes.
COVERAGE_GRID = 32
_CHUNK = 128
_HALF = 128  # of a pixel's 255


class Stopped(Exception):
    """`should_stop` became true while frames were decoded."""


@dataclass(frozen=True)
class Coverage:
    """Where lesions are, for training.

    Attributes:
        share_NKGG: share of each grid cell that is lesion, uint8 0..255, [N, K, 32, 32].
        known_NK: bool, whether the place of this label on this frame is known (a mask or a box was drawn).
    """

    share_NKGG: npt.NDArray[np.uint8]
    known_NK: npt.NDArray[np.bool_]


def decode_frames(
    dataset: Frames,
    ordinals: npt.NDArray[np.int64],
    *,
    size_px: int,
    path: Path,
    report: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> npt.NDArray[np.uint8]:
    """Decode frames into a memory-mapped file.

    Args:
        dataset: where the encoded bytes are.
        ordinals: which frames, in the order of the result.
        size_px: side of the squares.
        path: file to (over)write.
        report: told of the progress.
        should_stop: polled between chunks.

    Returns:
        uint8 [N, size, size, 3], RGB, backed by `path`.

    Raises:
        Undecodable: a frame's bytes are not those that were ingested.
        Stopped: on request.
    """
    shape = (len(ordinals), size_px, size_px, 3)
    pixels_NHWC = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as file:
        # A full disk says so here; found out by a write to mapped memory, it would end the process.
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(ordinals), _CHUNK):
            if should_stop():
                raise Stopped
            encoded = [dataset.frame(int(ordinal)) for ordinal in ordinals[start : start + _CHUNK]]
            squares = pool.map(lambda data: fit_square(decode_frame(data), size_px), encoded)
            for offset, square in enumerate(squares):
                pixels_NHWC[start + offset] = square
            report(Progress(start + len(encoded), len(ordinals), "frames", "decoding"))
    return pixels_NHWC


def read_coverage(
    dataset: Frames, ordinals: npt.NDArray[np.int64], label_names: Sequence[str]
) -> Coverage | None:
    """Masks and boxes of the frames on the coverage grid; None where the dataset has none."""
    shape = (len(ordinals), len(label_names))
    share_NKGG = np.zeros((*shape, COVERAGE_GRID, COVERAGE_GRID), np.uint8)
    known_NK = np.zeros(shape, np.bool_)
    column = {name: index for index, name in enumerate(label_names)}
    for row, ordinal in enumerate(ordinals):
        for label, region in lesion_regions(dataset, int(ordinal)):
            if label in column:
                index = row, column[label]
                share_NKGG[index] = np.maximum(share_NKGG[index], _squared(region, COVERAGE_GRID))
                known_NK[index] = True
    return Coverage(share_NKGG, known_NK) if known_NK.any() else None


def lesion_regions(dataset: Frames, ordinal: int) -> Iterable[tuple[str, npt.NDArray[np.bool_]]]:
    """Each mask and box of a frame as (label, bool [height, width]); several of one label stay several."""
    for mask in dataset.masks(ordinal):
        region = decode_mask(dataset.mask_bytes(ordinal, mask))
        if region.any():  # an empty mask says nothing about the place
            yield mask.label, region
    boxes = dataset.boxes(ordinal)
    width, height = dataset.sizes_px()[ordinal] if boxes else (0, 0)
    for box in boxes:
        region = np.zeros((height, width), np.bool_)
        # A box may begin up to a pixel outside, and a negative index would count from the other side.
        left, top = max(0, round(box.x)), max(0, round(box.y))
        region[top : round(box.y + box.h), left : round(box.x + box.w)] = True
        if region.any():
            yield box.label, region


def lesion_in_square(
    dataset: Frames, ordinal: int, *, label: str, size_px: int
) -> npt.NDArray[np.bool_] | None:
    """Bool [size, size]: lesions of a label in the square that is read; None where nobody has drawn one."""
    regions = [region for name, region in lesion_regions(dataset, ordinal) if name == label]
    if not regions:
        return None
    share = _squared(np.logical_or.reduce(regions), size_px)
    # A lesion smaller than a pixel is where it fills most of one.
    return np.asarray(share >= max(1, min(_HALF, share.max())))


def _squared(region: npt.NDArray[np.bool_], size_px: int) -> npt.NDArray[np.uint8]:
    """Share of each pixel of the square that is region, uint8 0..255, [size, size]."""
    height, width = region.shape
    side = max(height, width)
    left, top = SquareMap(width, height, size_px).pad_px
    square = np.zeros((side, side), np.uint8)
    square[top : top + height, left : left + width] = region * np.uint8(255)
    return np.array(Image.fromarray(square).resize((size_px, size_px), Image.Resampling.BOX))

"""From label columns to one class per frame.

Classes exclude each other: a frame's one known positive is its class, whatever is unknown beside it. A frame
with several positives, or with none among labels of which some are unknown, has no class. One of which every
label is known to be absent has none either, unless those frames are a class of their own.
Shape suffixes: N frames, K labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NO_CLASS = -1


@dataclass(frozen=True)
class Classes:
    """One class per frame.

    Attributes:
        names: of the classes; the class of frames without any label comes last.
        class_N: number of the class, or -1 for a frame that is left out.
        left_out: why, and how many frames: `several_positives`, `no_positive`, `unknown`.
    """

    names: tuple[str, ...]
    class_N: npt.NDArray[np.int64]
    left_out: dict[str, int]


def classes_of(labels_NK: npt.NDArray[np.int8], names: Sequence[str], *, none_class: str | None) -> Classes:
    """Read label columns as classes.

    Args:
        labels_NK: 1, 0 or -1 for unknown.
        names: of the columns.
        none_class: name of the class of frames of which every label is known to be absent; None leaves them
            out.

    Raises:
        ValueError: `none_class` is a label already.
    """
    if none_class in names:
        raise ValueError("the class of frames without a label needs a name of its own")
    positives_N = (labels_NK == 1).sum(axis=1)
    absent_N = (labels_NK == 0).all(axis=1)
    one_N = positives_N == 1
    class_N = np.full(len(labels_NK), NO_CLASS, np.int64)
    class_N[one_N] = labels_NK[one_N].argmax(axis=1)
    if none_class is not None:
        class_N[absent_N] = len(names)
    left_out = {
        "several_positives": int((positives_N > 1).sum()),
        "no_positive": int((absent_N & (class_N == NO_CLASS)).sum()),
        "unknown": int(((positives_N == 0) & ~absent_N).sum()),
    }
    return Classes((*names, *([none_class] if none_class is not None else [])), class_N, left_out)


def one_hot(class_N: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int8]:
    """Label columns int8 [N, count] again: 1 for the class, 0 for all others."""
    return np.asarray(class_N[:, None] == np.arange(count), dtype=np.int8)

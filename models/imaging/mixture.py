"""Several datasets of frames read as one: labels that a dataset does not have are unknown on its frames."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from models.imaging.datasets import UNKNOWN, Box, FramesDataset, MaskRef, fingerprint


class Frames(Protocol):
    """What training and evaluation need of a dataset; every method as `FramesDataset` has it."""

    def __len__(self) -> int: ...
    def frame(self, ordinal: int) -> bytes: ...
    def labels(self) -> tuple[tuple[str, ...], NDArray[np.int8]]: ...
    def groups(self) -> NDArray[np.str_]: ...
    def splits(self) -> NDArray[np.str_]: ...
    def hashes(self) -> NDArray[np.str_]: ...
    def looks(self) -> NDArray[np.int64]: ...
    def names(self) -> NDArray[np.str_]: ...
    def sizes_px(self) -> NDArray[np.int32]: ...
    def boxes(self, ordinal: int) -> tuple[Box, ...]: ...
    def masks(self, ordinal: int) -> tuple[MaskRef, ...]: ...
    def mask_bytes(self, ordinal: int, mask: MaskRef) -> bytes: ...
    def drawn_by_code(self) -> NDArray[np.bool_]: ...
    def fingerprint(self) -> str: ...
    def contents(self) -> tuple[str, ...]: ...


class FramesMixture:
    """Frames of several datasets, one after another; groups carry the number of their dataset.

    Args:
        folders: a dataset each, in this order.

    Raises:
        DatasetDamaged: as `FramesDataset`.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        with ExitStack() as opened:
            self._parts = [opened.enter_context(FramesDataset(folder)) for folder in folders]
            self._opened = opened.pop_all()
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def frame(self, ordinal: int) -> bytes:
        part, own = self._find(ordinal)
        return part.frame(own)

    def labels(self) -> tuple[tuple[str, ...], NDArray[np.int8]]:
        """The names in the order in which they are first met, and int8 [N, K]."""
        names = tuple(dict.fromkeys(name for part in self._parts for name in part.label_names))
        labels_NK = np.full((len(self), len(names)), UNKNOWN, np.int8)
        for start, part in zip(self._starts, self._parts, strict=False):
            own_names, own_NK = part.labels()
            columns = [names.index(name) for name in own_names]
            labels_NK[start : start + len(part), columns] = own_NK
        return names, labels_NK

    def groups(self) -> NDArray[np.str_]:
        named = [[f"{number}/{group}" for group in part.groups()] for number, part in enumerate(self._parts)]
        return np.array([group for part in named for group in part], np.str_)

    def splits(self) -> NDArray[np.str_]:
        return np.concatenate([part.splits() for part in self._parts])

    def hashes(self) -> NDArray[np.str_]:
        return np.concatenate([part.hashes() for part in self._parts])

    def looks(self) -> NDArray[np.int64]:
        return np.concatenate([part.looks() for part in self._parts])

    def names(self) -> NDArray[np.str_]:
        return np.concatenate([part.names() for part in self._parts])

    def sizes_px(self) -> NDArray[np.int32]:
        return np.concatenate([part.sizes_px() for part in self._parts])

    def boxes(self, ordinal: int) -> tuple[Box, ...]:
        part, own = self._find(ordinal)
        return part.boxes(own)

    def masks(self, ordinal: int) -> tuple[MaskRef, ...]:
        part, own = self._find(ordinal)
        return part.masks(own)

    def mask_bytes(self, ordinal: int, mask: MaskRef) -> bytes:
        part, own = self._find(ordinal)
        return part.mask_bytes(own, mask)

    def drawn_by_code(self) -> NDArray[np.bool_]:
        return np.concatenate([part.drawn_by_code() for part in self._parts])

    def fingerprint(self) -> str:
        """Of all frames with the mixture's labels and groups: see `datasets.fingerprint`."""
        return fingerprint(self.hashes().tolist(), self.labels()[1], self.groups().tolist())

    def contents(self) -> tuple[str, ...]:
        return tuple(content for part in self._parts for content in part.contents())

    def _find(self, ordinal: int) -> tuple[FramesDataset, int]:
        if not 0 <= ordinal < len(self):
            raise IndexError(ordinal)
        number = int(np.searchsorted(self._starts, ordinal, side="right")) - 1
        return self._parts[number], ordinal - int(self._starts[number])


def open_frames(folder: Path) -> FramesDataset | FramesMixture:
    """A dataset, or a folder of numbered ones (`0`, `1` ...) as their mixture; close it after use.

    Raises:
        DatasetDamaged: neither.
    """
    parts = sorted((part for part in folder.iterdir() if part.name.isdecimal()), key=lambda p: int(p.name))
    return FramesMixture(parts) if parts else FramesDataset(folder)

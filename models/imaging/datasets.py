"""A dataset of frames on disk: `frames.pack`, `index.parquet`, `refused.parquet` and `report.json`.

The pack is the original encoded bytes of frames and masks, one after another; the index has one row per
frame. `look` is its perceptual hash, `split` the side that the dataset's maker put it on. A label column
`label:<name>` holds 1, 0 or null for unknown. `models.imaging.ingest` writes it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

PACK_NAME = "frames.pack"
INDEX_NAME = "index.parquet"
REFUSED_NAME = "refused.parquet"
REPORT_NAME = "report.json"
LABEL_PREFIX = "label:"
UNKNOWN = -1

_BOX = pa.struct([("label", pa.string()), *((side, pa.float32()) for side in "xywh")])
_MASK = pa.struct([("label", pa.string()), ("offset", pa.int64()), ("length", pa.int64())])
REFUSED_SCHEMA = pa.schema([("name", pa.string()), ("row", pa.int64()), ("code", pa.string())])


class DatasetDamaged(ValueError):
    """The folder is not a dataset of frames, or its bytes have changed."""


@dataclass(frozen=True)
class Box:
    """A box around a lesion: left, top, width and height in pixels of the decoded frame."""

    label: str
    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True)
class MaskRef:
    """Where in the pack the encoded mask of one label lies."""

    label: str
    offset: int
    length: int


def index_schema(labels: Sequence[str]) -> pa.Schema:
    """The columns of `index.parquet` for these labels."""
    return pa.schema(
        [
            ("ordinal", pa.int32()),
            ("name", pa.string()),
            ("sha256", pa.string()),
            ("look", pa.int64()),
            ("offset", pa.int64()),
            ("length", pa.int64()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("group", pa.string()),
            ("split", pa.string()),
            *((LABEL_PREFIX + label, pa.int8()) for label in labels),
            ("boxes", pa.list_(_BOX)),
            ("masks", pa.list_(_MASK)),
        ]
    )


def fingerprint(hashes: Sequence[str], labels: NDArray[np.int8], groups: Sequence[str]) -> str:
    """SHA-256 over the sorted frames with their labels and groups: equal content, equal fingerprint.

    Args:
        hashes: SHA-256 of each frame's bytes, hexadecimal.
        labels: int8 [N, K], 1, 0 or -1 for unknown.
        groups: group of each frame.

    Returns:
        64 hexadecimal digits.
    """
    rows = sorted(
        json.dumps([sha256, [int(value) for value in row], group], separators=(",", ":"))
        for sha256, row, group in zip(hashes, labels, groups, strict=True)
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def content(hashes: Sequence[str]) -> str:
    """SHA-256 over the distinct frames alone: equal frames, equal content, whatever labels and groups."""
    return hashlib.sha256("\n".join(sorted(set(hashes))).encode()).hexdigest()


class FramesDataset:
    """Reads a dataset of frames; frames are numbered by ordinal, 0 to N - 1."""

    def __init__(self, folder: Path) -> None:
        """Open a dataset folder.

        Args:
            folder: holds `frames.pack` and `index.parquet`.

        Raises:
            DatasetDamaged: files are missing, or the index points outside the pack.
        """
        self._folder = folder
        try:
            self._index = pq.read_table(folder / INDEX_NAME)
            self._pack = (folder / PACK_NAME).open("rb")
        except (OSError, pa.ArrowException):
            raise DatasetDamaged("the folder holds no readable pack and index") from None
        self.label_names = tuple(
            name.removeprefix(LABEL_PREFIX)
            for name in self._index.column_names
            if name.startswith(LABEL_PREFIX)
        )
        if not self._index.schema.equals(index_schema(self.label_names)):
            self.close()
            raise DatasetDamaged("the index has other columns than a dataset of frames")
        self._offset = self._index["offset"].to_numpy()
        self._length = self._index["length"].to_numpy()
        size = self._pack.seek(0, 2)
        if len(self) and (self._offset.min() < 0 or (self._offset + self._length).max() > size):
            self.close()
            raise DatasetDamaged("the index points outside the pack")

    def __len__(self) -> int:
        return int(self._index.num_rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the pack."""
        self._pack.close()

    def frame(self, ordinal: int) -> bytes:
        """The original encoded bytes of one frame; IndexError outside 0 to N - 1."""
        if not 0 <= ordinal < len(self):
            raise IndexError(ordinal)
        return self._read(int(self._offset[ordinal]), int(self._length[ordinal]))

    def labels(self) -> tuple[tuple[str, ...], NDArray[np.int8]]:
        """The K label names and int8 [N, K]: 1, 0, or -1 for unknown."""
        columns = [
            self._index[LABEL_PREFIX + name].fill_null(UNKNOWN).to_numpy().astype(np.int8, copy=False)
            for name in self.label_names
        ]
        return self.label_names, np.stack(columns, axis=1) if columns else np.zeros((len(self), 0), np.int8)

    def groups(self) -> NDArray[np.str_]:
        """The group (patient, video or block) of each frame, str [N]."""
        return self._strings("group")

    def splits(self) -> NDArray[np.str_]:
        """The side or fold that the dataset itself puts each frame on, str [N]; "" where it says nothing."""
        return self._strings("split")

    def hashes(self) -> NDArray[np.str_]:
        """SHA-256 of each frame's bytes, hexadecimal, str [N]."""
        return self._strings("sha256")

    def looks(self) -> NDArray[np.int64]:
        """Perceptual hash of each frame, int64 [N]: see `models.imaging.perceptual`."""
        return np.asarray(self._index["look"].to_numpy(), dtype=np.int64)

    def names(self) -> NDArray[np.str_]:
        """The name each frame came under, str [N]: for people, never for learning or for paths."""
        return self._strings("name")

    def sizes_px(self) -> NDArray[np.int32]:
        """int32 [N, 2]: width and height of each decoded frame, in pixels."""
        return np.stack([self._index["width"].to_numpy(), self._index["height"].to_numpy()], axis=1)

    def boxes(self, ordinal: int) -> tuple[Box, ...]:
        """The boxes drawn on one frame."""
        return tuple(Box(**row) for row in self._index["boxes"][ordinal].as_py() or ())

    def masks(self, ordinal: int) -> tuple[MaskRef, ...]:
        """The masks of one frame; `mask_bytes` reads one."""
        return tuple(MaskRef(**row) for row in self._index["masks"][ordinal].as_py() or ())

    def mask_bytes(self, ordinal: int, mask: MaskRef) -> bytes:
        """The original encoded bytes of a mask of that frame: decode them with `decode.decode_mask`."""
        return self._read(mask.offset, mask.length)

    def drawn_by_code(self) -> NDArray[np.bool_]:
        """Bool [N]: which frames are synthetic, as the ingest's report says of all of them."""
        return np.full(len(self), read_report(self._folder).get("format") == "synthetic")

    def fingerprint(self) -> str:
        """Recomputed from the index: see `fingerprint`."""
        return fingerprint(self.hashes().tolist(), self.labels()[1], self.groups().tolist())

    def contents(self) -> tuple[str, ...]:
        """Of each dataset in here, so of this one: see `content`."""
        return (content(self.hashes().tolist()),)

    def _strings(self, column: str) -> NDArray[np.str_]:
        return np.array(self._index[column].to_pylist(), dtype=np.str_)

    def _read(self, offset: int, length: int) -> bytes:
        self._pack.seek(offset)
        data = self._pack.read(length)
        if len(data) != length:
            raise DatasetDamaged("the pack ends before the index does")
        return data


def read_report(folder: Path) -> Mapping[str, Any]:
    """The ingest report of a dataset folder."""
    try:
        report = json.loads((folder / REPORT_NAME).read_bytes())
    except (OSError, ValueError):
        raise DatasetDamaged("the folder holds no readable report") from None
    if not isinstance(report, dict):
        raise DatasetDamaged("the report is not an object")
    return report

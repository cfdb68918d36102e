"""From the files people have to a dataset of frames: what is wrong is reported, never silently dropped."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.imaging.archive import MemberRefused, Members
from models.imaging.dataset_checks import check_whole
from models.imaging.datasets import (
    INDEX_NAME,
    LABEL_PREFIX,
    PACK_NAME,
    REFUSED_NAME,
    REFUSED_SCHEMA,
    REPORT_NAME,
    UNKNOWN,
    Box,
    MaskRef,
    fingerprint,
    index_schema,
)
from models.imaging.decode import Undecodable, decode_frame, decode_mask
from models.imaging.formats.build import FORMATS
from models.imaging.formats.source import Source
from models.imaging.label_table import IngestRefused, LabelRow, Problem, Problems, fits
from models.imaging.perceptual import difference_hash

_ROWS_PER_GROUP = 4096

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LabelCount:
    """How many frames carry a label, surely do not, or are not judged."""

    label: str
    positive: int
    negative: int
    unknown: int


@dataclass(frozen=True)
class GroupCount:
    """One group: its frames, and how many carry each label, in the order of the labels."""

    group: str
    frames: int
    positive: tuple[int, ...]


@dataclass(frozen=True)
class IngestReport:
    """What an ingest made and what it found wrong; `notes` are sentences about the whole of it."""

    format: str
    frames: int
    refused: int
    labels: tuple[LabelCount, ...]
    groups: tuple[GroupCount, ...]
    boxes: int
    masks: int
    fingerprint: str
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def ingest_frames(
    members: Members,
    fmt: str,
    options: Mapping[str, Any],
    *,
    out_dir: Path,
    progress: Progress = lambda done, total: None,
    distrusted: frozenset[int] = frozenset(),
) -> IngestReport:
    """Write a dataset of frames.

    Args:
        members: the files; hostile, so run this in the sandbox.
        fmt: one of `formats.build.FORMATS`.
        options: the format's own; its `read` names them.
        out_dir: an existing folder that receives the files named in `datasets`.
        progress: called with rows done and in all, before each row and at the end.
        distrusted: rows (counted from 0) that ended an earlier decoder; refused as `decoder_died`.

    Returns:
        The report, also written as `report.json`. Frames that cannot be used are listed in `refused.parquet`.

    Raises:
        IngestRefused: nothing can be made of the input.
        ArchiveRefused: the archive turned out to lie.
    """
    if fmt not in FORMATS:
        raise IngestRefused("unknown_format", f"the formats are {', '.join(FORMATS)}", "/format")
    problems = Problems()
    source = FORMATS[fmt](members, options, problems)
    with _Writer(out_dir, source.table.labels, members, problems) as writer:
        for done, row in enumerate(source.table.rows):
            progress(done, len(source.table.rows))
            if done in distrusted:
                writer.refuse("decoder_died", row.filename, row.row)
                continue
            writer.add(row, source)
        progress(len(source.table.rows), len(source.table.rows))
        known = {row.filename for row in source.table.rows}
        for filename, member in source.images.items():
            if filename not in known:
                writer.refuse("no_label_row", member, 0)
    report = writer.report(fmt, source.notes)
    if not report.frames:
        raise IngestRefused("no_frames", "no image is both readable and in the table of labels")
    (out_dir / REPORT_NAME).write_text(json.dumps(report.to_json()))
    return report


class _Writer:
    """Appends frames to the pack and rows to the index, and keeps what the report needs."""

    def __init__(self, out_dir: Path, labels: tuple[str, ...], members: Members, problems: Problems) -> None:
        self._labels = labels
        self._members = members
        self._problems = problems
        self._pack = (out_dir / PACK_NAME).open("wb")
        self._schema = index_schema(labels)
        self._index = pq.ParquetWriter(out_dir / INDEX_NAME, self._schema)
        self._refused_path = out_dir / REFUSED_NAME
        self._pending: list[dict[str, Any]] = []
        self._refused: list[dict[str, Any]] = []
        self._frames: list[LabelRow] = []
        self._hashes: list[str] = []
        self._boxes = self._masks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._index.close()
        self._pack.close()
        pq.write_table(pa.Table.from_pylist(self._refused, schema=REFUSED_SCHEMA), self._refused_path)

    def add(self, row: LabelRow, source: Source) -> None:
        """One row of the table: a frame, or a refusal."""
        member = source.images.get(row.filename)
        if member is None:
            return self.refuse("no_image", row.filename, row.row)
        if not row.group:
            return self.refuse("no_group", member, row.row)
        try:
            data = self._members.read(member)
            frame = decode_frame(data)
            height, width, _ = frame.shape
        except (MemberRefused, Undecodable) as refused:
            return self.refuse(refused.code, member, row.row)
        boxes = [
            box
            for box in source.boxes(row.filename, width, height)
            if self._box_is_usable(box, row, width, height)
        ]
        masks = [
            mask
            for label, name in source.masks(row.filename).items()
            if (mask := self._mask(label, name, row, (height, width)))
        ]
        offset = self._append(data)
        values = {
            LABEL_PREFIX + label: None if value == UNKNOWN else value
            for label, value in zip(self._labels, row.labels, strict=True)
        }
        sha256 = hashlib.sha256(data).hexdigest()
        self._pending.append(
            {
                "ordinal": len(self._frames),
                "name": member,
                "sha256": sha256,
                "look": difference_hash(frame),
                "offset": offset,
                "length": len(data),
                "width": width,
                "height": height,
                "group": row.group,
                "split": row.split,
                **values,
                "boxes": [asdict(box) for box in boxes],
                "masks": [asdict(mask) for mask in masks],
            }
        )
        self._frames.append(row)
        self._hashes.append(sha256)
        self._boxes += len(boxes)
        self._masks += len(masks)
        if len(self._pending) == _ROWS_PER_GROUP:
            self._flush()
        return None

    def refuse(self, code: str, name: str, row: int) -> None:
        """List a frame that is not in the dataset; `row` is 0 where the table does not name it."""
        self._refused.append({"name": name, "row": row, "code": code})
        self._problems.add(f"refused_{code}", row)

    def report(self, fmt: str, notes: tuple[str, ...]) -> IngestReport:
        """Counts, and the problems that only show once all frames are there."""
        frames = self._frames
        self._find_duplicates()
        self._find_groups_crossing_splits()
        notes += tuple(check_whole(frames, self._labels, self._problems))
        matrix = np.array([row.labels for row in frames], np.int8).reshape(len(frames), len(self._labels))
        return IngestReport(
            format=fmt,
            frames=len(frames),
            refused=len(self._refused),
            labels=tuple(
                LabelCount(label, *(int((matrix[:, column] == value).sum()) for value in (1, 0, UNKNOWN)))
                for column, label in enumerate(self._labels)
            ),
            groups=_group_counts(frames),
            boxes=self._boxes,
            masks=self._masks,
            fingerprint=fingerprint(self._hashes, matrix, [row.group for row in frames]),
            problems=self._problems.found(),
            notes=notes,
        )

    def _flush(self) -> None:
        if self._pending:
            self._index.write_table(pa.Table.from_pylist(self._pending, schema=self._schema))
            self._pending = []

    def _append(self, data: bytes) -> int:
        offset = self._pack.tell()
        self._pack.write(data)
        return offset

    def _box_is_usable(self, box: Box, row: LabelRow, width: int, height: int) -> bool:
        if box.label not in self._labels or not fits(box, width, height):
            self._problems.add("box_invalid", row.row)
            return False
        if row.labels[self._labels.index(box.label)] == 0:
            self._problems.add("box_contradicts_label", row.row)
        return True

    def _mask(self, label: str, name: str, row: LabelRow, shape: tuple[int, int]) -> MaskRef | None:
        if label not in self._labels:
            self._problems.add("mask_of_unknown_label", row.row)
            return None
        try:
            data = self._members.read(name)
            mask = decode_mask(data)
        except (MemberRefused, Undecodable):
            self._problems.add("mask_unreadable", row.row)
            return None
        if mask.shape != shape:
            self._problems.add("mask_of_other_size", row.row)
            return None
        value = row.labels[self._labels.index(label)]
        if value != UNKNOWN and bool(value) != mask.any():
            self._problems.add("mask_contradicts_label" if value == 0 else "mask_empty", row.row)
        return MaskRef(label, self._append(data), len(data))

    def _find_duplicates(self) -> None:
        first: dict[str, int] = {}
        for ordinal, sha256 in enumerate(self._hashes):
            twin, frame = self._frames[first.setdefault(sha256, ordinal)], self._frames[ordinal]
            if twin is frame:
                continue
            self._problems.add("duplicate_frame", ordinal)
            if twin.labels != frame.labels:
                self._problems.add("duplicate_with_other_labels", ordinal)
            if twin.group != frame.group:
                self._problems.add("duplicate_across_groups", ordinal)

    def _find_groups_crossing_splits(self) -> None:
        split_of: dict[str, str] = {}
        crossing = set()
        for ordinal, row in enumerate(self._frames):
            if not row.split or row.group in crossing:
                continue
            if split_of.setdefault(row.group, row.split) != row.split:
                crossing.add(row.group)
                self._problems.add("group_crosses_split", ordinal)


def _group_counts(frames: list[LabelRow]) -> tuple[GroupCount, ...]:
    counts = Counter(row.group for row in frames)
    positive: dict[str, Counter[int]] = defaultdict(Counter)
    for row in frames:
        positive[row.group].update(column for column, value in enumerate(row.labels) if value == 1)
    columns = range(len(frames[0].labels)) if frames else ()
    return tuple(
        GroupCount(group, count, tuple(positive[group][column] for column in columns))
        for group, count in sorted(counts.items())
    )

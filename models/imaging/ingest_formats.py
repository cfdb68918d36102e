"""The layouts that datasets of frames come in, each brought to one table of rows, images, boxes and masks.

`labels-csv` (also called `synthetic`): `labels.csv` with `filename`, `group`, perhaps `split`, and one column
per label (0, 1 or empty); images beside it or in `images/`; perhaps `masks/<label>/<stem>.png` and
`boxes.csv`.
`wcebleedgen`: `images/`, YOLO `labels/` and `labels.csv` with `bleeding` and `source_index`.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Protocol

from models.imaging.archive import MemberRefused, Members
from models.imaging.datasets import Box
from models.imaging.label_table import (
    IngestRefused,
    LabelRow,
    LabelTable,
    Problems,
    read_boxes,
    read_label_table,
    yolo_boxes,
)

_DEFAULT_BLOCK_SIZE = 200
_MAX_INDEX_DIGITS = 18


class Source(Protocol):
    """What a format makes of the members; `images` maps the names that tables use to members."""

    table: LabelTable
    images: dict[str, str]

    def boxes(self, filename: str, width_px: int, height_px: int) -> list[Box]:
        """The boxes of one frame, in its pixels."""
        ...

    def masks(self, filename: str) -> Mapping[str, str]:
        """Label to member, for one frame."""
        ...


class _LabelsCsv:
    def __init__(self, members: Members, options: Mapping[str, Any], problems: Problems) -> None:
        _refuse_unknown_options(options, {"groups"})
        groups = options.get("groups", "column")
        if groups not in ("column", "per-frame"):
            raise IngestRefused("bad_option", "groups is column or per-frame", "/options/groups")
        root, names = _root(members)
        table = _read(members, root + "labels.csv")
        self.table = read_label_table(table, problems, group_column="group" if groups == "column" else None)
        if groups == "per-frame":
            # Chosen by whoever asked for it; everybody who reads a score of this dataset must see it.
            problems.add("groups_assumed_per_frame", 0)
        self.images = _images(root, names)
        self._boxes = (
            read_boxes(_read(members, root + "boxes.csv"), problems) if root + "boxes.csv" in names else {}
        )
        self._masks = _mask_names(root, names)
        known = {row.filename for row in self.table.rows}
        for filename in self._boxes.keys() - known:
            problems.add("box_without_image", self._boxes[filename][0][0])
        for _ in self._masks.keys() - {_stem(filename) for filename in known}:
            problems.add("mask_without_image", 0)

    def boxes(self, filename: str, width_px: int, height_px: int) -> list[Box]:
        return [box for _, box in self._boxes.get(filename, [])]

    def masks(self, filename: str) -> Mapping[str, str]:
        return self._masks.get(_stem(filename), {})


class _WceBleedGen:
    def __init__(self, members: Members, options: Mapping[str, Any], problems: Problems) -> None:
        _refuse_unknown_options(options, {"block_size"})
        block_size = options.get("block_size", _DEFAULT_BLOCK_SIZE)
        if type(block_size) is not int or block_size < 1:
            raise IngestRefused("bad_option", "block_size is a whole number from 1 on", "/options/block_size")
        root, names = _root(members)
        # The published split leaks: frames of neighbouring source indexes are near twins, so blocks of them
        # are the groups and `repo_split` is not read. Nor are names, which give the label away.
        table = read_label_table(
            _read(members, root + "labels.csv"),
            problems,
            group_column="source_index",
            not_labels=["repo_split"],
        )
        if table.labels != ("bleeding",):
            raise IngestRefused("no_label_column", "labels.csv of this format has one label, bleeding")
        self.table = LabelTable(table.labels, tuple(_in_block(row, block_size) for row in table.rows))
        self.images = _images(root, names)
        self._members, self._problems = members, problems
        folder = root + "labels/"
        self._yolo = {_stem(name.removeprefix(folder)): name for name in names if name.startswith(folder)}
        self._row = {row.filename: row.row for row in table.rows}

    def boxes(self, filename: str, width_px: int, height_px: int) -> list[Box]:
        name = self._yolo.get(_stem(filename))
        if name is None:
            return []
        try:
            text = self._members.read(name).decode("ascii")
        except (MemberRefused, UnicodeDecodeError):
            self._problems.add("boxes_unreadable", self._row[filename])
            return []
        boxes = list(yolo_boxes(text, "bleeding", width_px, height_px))
        for _ in range(boxes.count(None)):
            self._problems.add("box_invalid", self._row[filename])
        return [box for box in boxes if box]

    def masks(self, filename: str) -> Mapping[str, str]:
        return {}


FORMATS: Mapping[str, Callable[[Members, Mapping[str, Any], Problems], Source]] = {
    "labels-csv": _LabelsCsv,
    "synthetic": _LabelsCsv,
    "wcebleedgen": _WceBleedGen,
}


def _in_block(row: LabelRow, block_size: int) -> LabelRow:
    if not row.group.isdecimal() or len(row.group) > _MAX_INDEX_DIGITS:
        return replace(row, group="")
    return replace(row, group=f"block-{int(row.group) // block_size:05d}")


def _refuse_unknown_options(options: Mapping[str, Any], known: set[str]) -> None:
    for name in options.keys() - known:
        raise IngestRefused(
            "unknown_option", f"the options are {', '.join(sorted(known))}", f"/options/{name}"
        )


def _root(members: Members) -> tuple[str, frozenset[str]]:
    """The folder of the topmost `labels.csv`, with its slash: archives of a folder have all inside it."""
    names = frozenset(members.names())
    tables = sorted(
        (name for name in names if PurePosixPath(name).name == "labels.csv"), key=lambda n: n.count("/")
    )
    if not tables:
        raise IngestRefused("no_labels_csv", "the files hold no labels.csv")
    if len(tables) > 1 and tables[0].count("/") == tables[1].count("/"):
        raise IngestRefused("several_labels_csv", "the files hold several labels.csv side by side")
    return tables[0].removesuffix("labels.csv"), names


def _read(members: Members, name: str) -> bytes:
    try:
        return members.read(name)
    except MemberRefused as refused:
        raise IngestRefused(refused.code, "a table cannot be read") from None


def _images(root: str, names: frozenset[str]) -> dict[str, str]:
    """Members by the name that tables call them: in `images/` where there is one, else beside the tables."""
    folder = root + "images/"
    if not any(name.startswith(folder) for name in names):
        folder = root
    others = (root + "masks/", root + "labels/", root + "labels.csv", root + "boxes.csv")
    inside = sorted(name for name in names if name.startswith(folder) and not name.startswith(others))
    return {name.removeprefix(folder): name for name in inside}


def _mask_names(root: str, names: frozenset[str]) -> dict[str, dict[str, str]]:
    """By stem of the frame, then by label."""
    masks: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(names):
        label, slash, rest = name.removeprefix(root + "masks/").partition("/")
        if name.startswith(root + "masks/") and slash:
            masks[_stem(rest)][label] = name
    return masks


def _stem(filename: str) -> str:
    path = PurePosixPath(filename)
    return str(path.with_suffix("")) if path.name else filename  # "." and "/" have no name

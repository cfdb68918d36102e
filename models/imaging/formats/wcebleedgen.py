"""`wcebleedgen`: `images/`, YOLO `labels/` and `labels.csv` with `bleeding` and `source_index`.

The published split leaks: frames of neighbouring source indexes are near twins, so blocks of them are the
groups and `repo_split` is not read. Nor are names, which give the label away.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.imaging.archive import MemberRefused, Members
from models.imaging.datasets import Box
from models.imaging.formats.source import (
    DEFAULT_BLOCK_SIZE,
    Source,
    block_name,
    images_beside,
    read_table,
    refuse_unknown_options,
    stem,
    topmost,
    whole_number,
)
from models.imaging.label_table import (
    IngestRefused,
    LabelRow,
    LabelTable,
    Problems,
    read_label_table,
    yolo_boxes,
)

_LABELS = ("bleeding",)


def read(members: Members, options: Mapping[str, Any], problems: Problems) -> Source:
    """Options: `block_size`, source indexes in one group."""
    refuse_unknown_options(options, {"block_size"})
    block_size = whole_number(options, "block_size", DEFAULT_BLOCK_SIZE)
    names = frozenset(members.names())
    root = topmost(names, "labels.csv")
    table = read_label_table(
        read_table(members, root + "labels.csv"),
        problems,
        group_column="source_index",
        not_labels=["repo_split"],
    )
    if table.labels != _LABELS:
        raise IngestRefused("no_label_column", "labels.csv of this format has one label, bleeding")
    folder = root + "labels/"
    texts = {stem(name.removeprefix(folder)): name for name in names if name.startswith(folder)}
    row_of = {row.filename: row.row for row in table.rows}

    def boxes(filename: str, width_px: int, height_px: int) -> list[Box]:
        name = texts.get(stem(filename))
        if name is None:
            return []
        try:
            text = members.read(name).decode("ascii")
        except (MemberRefused, UnicodeDecodeError):
            problems.add("boxes_unreadable", row_of[filename])
            return []
        found = list(yolo_boxes(text, _LABELS, width_px, height_px))
        for _ in range(found.count(None)):
            problems.add("box_invalid", row_of[filename])
        return [box for box in found if box]

    blocks = LabelTable(table.labels, tuple(_in_block(row, block_size) for row in table.rows))
    return Source(blocks, images_beside(root, names), boxes=boxes)


def _in_block(row: LabelRow, block_size: int) -> LabelRow:
    return replace(row, group=block_name(row.group, block_size))

"""`labels-csv` (also called `synthetic`): our own layout.

`labels.csv` with `filename`, `group`, perhaps `split`, and one column per label (0, 1 or empty); images
beside it or in `images/`; perhaps `masks/<label>/<stem>.png` and `boxes.csv`.
"""

from collections.abc import Mapping
from typing import Any

from models.imaging.archive import Members
from models.imaging.formats.source import (
    Source,
    assume_groups,
    choice,
    images_beside,
    masks_by_stem,
    read_table,
    refuse_unknown_options,
    stem,
    topmost,
)
from models.imaging.label_table import Problems, read_boxes, read_label_table


def read(members: Members, options: Mapping[str, Any], problems: Problems) -> Source:
    """Options: `groups`: "column" or "per-frame"."""
    refuse_unknown_options(options, {"groups"})
    per_frame = choice(options, "groups", ("column", "per-frame")) == "per-frame"
    names = frozenset(members.names())
    root = topmost(names, "labels.csv")
    table = read_label_table(
        read_table(members, root + "labels.csv"), problems, group_column=None if per_frame else "group"
    )
    if per_frame:
        assume_groups("per-frame", problems)
    has_boxes = root + "boxes.csv" in names
    boxes = read_boxes(read_table(members, root + "boxes.csv"), problems) if has_boxes else {}
    masks = masks_by_stem(names, root + "masks/")
    known = {row.filename for row in table.rows}
    for filename in boxes.keys() - known:
        problems.add("box_without_image", boxes[filename][0][0])
    for _ in masks.keys() - {stem(filename) for filename in known}:
        problems.add("mask_without_image", 0)
    return Source(
        table,
        images_beside(root, names),
        boxes=lambda filename, _width, _height: [box for _, box in boxes.get(filename, [])],
        masks=lambda filename: masks.get(stem(filename), {}),
    )

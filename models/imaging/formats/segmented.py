"""Frames with one mask each, as Kvasir-SEG and HyperKvasir's segmented part have them: `images/`, `masks/`,
and a JSON of boxes by stem.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from models.imaging.archive import Members
from models.imaging.datasets import Box
from models.imaging.formats.source import base, image_names, read_table, stem
from models.imaging.label_table import IngestRefused, Problems

# The first is how Kvasir-SEG spells it.
_BOX_FILES = frozenset({"kavsir_bboxes.json", "bounding-boxes.json"})
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def in_folder(names: Iterable[str], folder: str) -> dict[str, str]:
    """Images whose folder has that name, by their last part."""
    return {base(name): name for name in image_names(names) if base(name.rpartition("/")[0]) == folder}


def masks_of(
    names: Iterable[str], label: str, images: Iterable[str], problems: Problems
) -> dict[str, dict[str, str]]:
    """Label and member of each frame's mask, by stem; `mask_without_image` for the others."""
    masks = {stem(filename): {label: member} for filename, member in in_folder(names, "masks").items()}
    for _ in masks.keys() - {stem(filename) for filename in images}:
        problems.add("mask_without_image", 0)
    return masks


def boxes_of(
    members: Members, names: Iterable[str], label: str, images: Iterable[str], problems: Problems
) -> dict[str, list[Box]]:
    """Boxes by stem of the frame; `box_row_invalid` and `box_without_image` for what is no use.

    Raises:
        IngestRefused: the file of boxes is no JSON object.
    """
    boxes: dict[str, list[Box]] = {}
    for name in sorted(name for name in names if base(name) in _BOX_FILES):
        for frame, found in _read(read_table(members, name)).items():
            listed = found.get("bbox") if isinstance(found, dict) else None
            parsed = [_box(item, label) for item in listed] if isinstance(listed, list) else [None]
            for _ in range(parsed.count(None)):
                problems.add("box_row_invalid", 0)
            boxes[frame] = [box for box in parsed if box]
    for _ in boxes.keys() - {stem(filename) for filename in images}:
        problems.add("box_without_image", 0)
    return boxes


def _read(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise IngestRefused("boxes_not_json", "the file of boxes is no JSON object")
    return found


def _box(item: Any, label: str) -> Box | None:
    sides: list[Any] = [item.get(side) for side in _SIDES] if isinstance(item, dict) else []
    if len(sides) != len(_SIDES) or not all(type(side) in {int, float} for side in sides):
        return None
    try:
        left, top, right, bottom = map(float, sides)
    except OverflowError:  # an int of more digits than a float can hold
        return None
    return Box(label, left, top, right - left, bottom - top)

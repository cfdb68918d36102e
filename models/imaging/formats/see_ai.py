"""`see-ai`: the SEE-AI project's small-bowel frames, with boxes of twelve kinds in YOLO files.

`SEE_AI_project_all_images/` and `SEE_AI_project_all_txt/`, one .txt per image that has boxes (Yokote et al.,
DEN Open 4 (2024)). Every lesion was drawn, so an image without a box of a kind is negative for it. Nothing
says which of the 523 examinations an image is of.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.imaging.archive import MemberRefused, Members
from models.imaging.datasets import UNKNOWN, Box
from models.imaging.formats.source import (
    DEFAULT_BLOCK_SIZE,
    Source,
    assume_groups,
    base,
    block_name,
    by_base,
    choice,
    image_names,
    one_hot,
    refuse_unknown_options,
    stem,
    whole_number,
)
from models.imaging.label_table import IngestRefused, LabelRow, LabelTable, Problems, yolo_boxes

# In the order of the class numbers.
CLASSES = (
    "angiodysplasia",
    "erosion",
    "stenosis",
    "lymphangiectasia",
    "lymph follicle",
    "SMT",
    "polyp-like",
    "bleeding",
    "diverticulum",
    "erythema",
    "foreign body",
    "vein",
)


def read(members: Members, options: Mapping[str, Any], problems: Problems) -> Source:
    """Options: `groups` "one", "blocks" (of `block_size` running numbers) or "per-frame"."""
    refuse_unknown_options(options, {"groups", "block_size"})
    groups = choice(options, "groups", ("one", "blocks", "per-frame"))
    block_size = whole_number(options, "block_size", DEFAULT_BLOCK_SIZE)
    if groups != "one":
        assume_groups(groups, problems)
    names = members.names()
    images = by_base(image_names(names), problems)
    texts = {stem(base(name)): name for name in sorted(names) if name.endswith(".txt")}
    boxes: dict[str, list[Box]] = {}
    rows = []
    for number, filename in enumerate(images, 1):
        text = texts.pop(stem(filename), None)
        found = _boxes(members, text, number, problems) if text else []
        boxes[filename] = [box for box in found if box]
        labels = one_hot((box.label for box in boxes[filename]), CLASSES)
        if None in found:
            # A line that cannot be read may be a box of any kind.
            labels = tuple(value or UNKNOWN for value in labels)
        problems.add("group_unknown", number)
        rows.append(LabelRow(number, filename, _group(filename, groups, block_size), "", labels))
    if not any(boxes.values()):
        raise IngestRefused("no_boxes", "the files hold no .txt with a box for any image")
    for _ in (name for name in texts if name.startswith("image")):
        problems.add("box_without_image", 0)

    def in_pixels(filename: str, width_px: int, height_px: int) -> list[Box]:
        return [
            replace(box, x=box.x * width_px, y=box.y * height_px, w=box.w * width_px, h=box.h * height_px)
            for box in boxes[filename]
        ]

    return Source(LabelTable(CLASSES, tuple(rows)), images, boxes=in_pixels)


def _boxes(members: Members, name: str, number: int, problems: Problems) -> list[Box | None]:
    """Boxes in shares of the frame; None for what cannot be read."""
    try:
        found = list(yolo_boxes(members.read(name).decode("ascii"), CLASSES, 1, 1))
    except (MemberRefused, UnicodeDecodeError):
        problems.add("boxes_unreadable", number)
        return [None]
    for _ in range(found.count(None)):
        problems.add("box_invalid", number)
    return found


def _group(filename: str, groups: str, block_size: int) -> str:
    if groups == "blocks":
        return block_name(stem(filename).removeprefix("image"), block_size)
    return filename if groups == "per-frame" else "see-ai"

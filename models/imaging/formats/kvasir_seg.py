"""`kvasir-seg`: colonoscopy frames that all show a polyp, with masks and boxes (Jha et al., MMM 2020).

An empty mask on such a frame is a mask that was lost, not a frame without a polyp: it is reported as
`mask_empty`, and no reader of masks takes it for a place. Nothing says which patient a frame is of.
"""

from collections.abc import Mapping
from typing import Any

from models.imaging.archive import Members
from models.imaging.formats.segmented import boxes_of, in_folder, masks_of
from models.imaging.formats.source import (
    Source,
    assume_groups,
    choice,
    refuse_unknown_options,
    stem,
    with_strays,
)
from models.imaging.label_table import IngestRefused, LabelRow, LabelTable, Problems

_LABEL = "polyp"


def read(members: Members, options: Mapping[str, Any], problems: Problems) -> Source:
    """Options: `groups` "one" or "per-frame"."""
    refuse_unknown_options(options, {"groups"})
    groups = choice(options, "groups", ("one", "per-frame"))
    if groups != "one":
        assume_groups(groups, problems)
    names = members.names()
    images = in_folder(names, "images")
    if not images:
        raise IngestRefused("no_images_folder", "the files hold no images in a folder images/")
    masks = masks_of(names, _LABEL, images, problems)
    boxes = boxes_of(members, names, _LABEL, images, problems)
    rows = []
    for number, filename in enumerate(images, 1):
        problems.add("group_unknown", number)
        rows.append(LabelRow(number, filename, filename if groups == "per-frame" else "kvasir-seg", "", (1,)))
    return Source(
        LabelTable((_LABEL,), tuple(rows)),
        with_strays(images, names, in_folder(names, "masks").values()),
        boxes=lambda filename, _width, _height: boxes.get(stem(filename), []),
        masks=lambda filename: masks.get(stem(filename), {}),
    )

"""`capsule-vision`: the training and validation parts of the Capsule Vision 2024 challenge.

`training/<class>/<source>/<file>` and `validation/...`, ten classes, frames of four sources (Handa et al.,
arXiv 2408.04940). The challenge's sheets are .xlsx and say what the folders say, so they are not read: a
workbook is a zip of XML, more parser than the sandbox needs. A sheet saved as CSV is read and compared.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from models.imaging.archive import Members
from models.imaging.formats.source import (
    Source,
    assume_groups,
    base,
    choice,
    image_names,
    one_hot,
    plain,
    read_table,
    refuse_unknown_options,
)
from models.imaging.label_table import (
    IngestRefused,
    LabelRow,
    LabelTable,
    Problems,
    csv_rows,
    first_of_each,
    read_label_table,
)

CLASSES = (
    "Angioectasia",
    "Bleeding",
    "Erosion",
    "Erythema",
    "Foreign Body",
    "Lymphangiectasia",
    "Normal",
    "Polyp",
    "Ulcer",
    "Worms",
)
_PARTS = ("training", "validation")
_CLASS_OF_FOLDER = {plain(name): name for name in CLASSES}
# Frames of Kvasir-Capsule keep their names: the video's id and the frame's number. Those of SEE-AI, KID and
# AIIMS name no patient or video that the makers vouch for.
_KVASIR, _KVASIR_NAME = "kvasir", re.compile(r"([0-9a-f]{16})_\d+\.\w+")


@dataclass(frozen=True)
class _Place:
    """What the folders of an image say."""

    part: str
    label: str
    source: str


def read(members: Members, options: Mapping[str, Any], problems: Problems) -> Source:
    """Options: `groups` "source" (one group for all frames of a source without videos) or "per-frame"."""
    refuse_unknown_options(options, {"groups"})
    groups = choice(options, "groups", ("source", "per-frame"))
    if groups != "source":
        assume_groups(groups, problems)
    names = members.names()
    images: dict[str, str] = {}
    places: dict[str, _Place] = {}
    for member in image_names(names):
        # What is in no part and class keeps its whole name, and is reported as a frame without a label.
        name, place = _place(member)
        if images.setdefault(name, member) != member:
            problems.add("same_name_twice", 0)
        elif place:
            places[name] = place
    sheets = {part: name for name in names for part in _PARTS if base(name).lower() == f"{part}_data.csv"}
    without_sheet = {name: place for name, place in places.items() if place.part not in sheets}
    rows = []
    for number, filename, labels in chain(
        _rows_of_sheets(members, sheets.values(), places, problems), _rows_of_folders(without_sheet)
    ):
        place = places.get(filename)
        group = _video(filename, place)
        if place and not group:
            problems.add("group_unknown", number)
            group = filename if groups == "per-frame" else place.source
        rows.append(LabelRow(number, filename, group, filename.partition("/")[0], labels))
    if not rows:
        raise IngestRefused(
            "no_class_folders", "the files hold no training/<class>/<source>/ or validation/..."
        )
    return Source(LabelTable(CLASSES, first_of_each(rows, problems)), images, notes=_notes(names))


def _place(member: str) -> tuple[str, _Place | None]:
    """The path from `training` or `validation` on, and what it says."""
    parts = PurePosixPath(member).parts
    match [part.lower() for part in parts[-4:]]:
        case [part, folder, source, _] if part in _PARTS and plain(folder) in _CLASS_OF_FOLDER:
            place = _Place(part, _CLASS_OF_FOLDER[plain(folder)], source)
            return "/".join((part, *parts[-3:])), place
    return member, None


def _video(filename: str, place: _Place | None) -> str:
    """The video of a frame of Kvasir-Capsule, "" of others."""
    found = _KVASIR_NAME.fullmatch(base(filename))
    return found[1] if found and place and place.source == _KVASIR else ""


def _rows_of_folders(places: Mapping[str, _Place]) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """The challenge took frames of one finding only, so the other nine labels are 0."""
    for number, (filename, place) in enumerate(places.items(), 1):
        yield number, filename, one_hot([place.label], CLASSES)


def _rows_of_sheets(
    members: Members, sheets: Iterable[str], places: Mapping[str, _Place], problems: Problems
) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    for sheet in sheets:
        data = read_table(members, sheet)
        header, _ = csv_rows(data, Problems())
        path_column = next(
            (name for name in header if plain(name) in {"imagepath", "framepath"}), "image_path"
        )
        table = read_label_table(
            data, problems, filename_column=path_column, group_column=None, labels=CLASSES
        )
        for row in table.rows:
            # The sheets were made on Windows.
            filename, place = _place(row.filename.replace("\\", "/"))
            known = places.get(filename, place)
            if known and one_hot([known.label], CLASSES) != row.labels:
                problems.add("folder_contradicts_label", row.row)
            yield row.row, filename, row.labels


def _notes(names: Iterable[str]) -> tuple[str, ...]:
    if not any(base(name).lower() in {f"{part}_data.xlsx" for part in _PARTS} for name in names):
        return ()
    return (
        "an .xlsx sheet is not read: labels are those of the folders, or of the same sheet saved as .csv",
    )

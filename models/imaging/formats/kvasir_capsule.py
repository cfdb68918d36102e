"""`kvasir-capsule`: `metadata.csv`, images in one folder per class or in one, official `split_<n>.csv`.

Smedsrud et al., "Kvasir-Capsule, a video capsule endoscopy dataset", Scientific Data 8 (2021). A frame has
one class there (eight have two, in two rows); findings have a box of four corners; groups are videos.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.imaging.archive import Members
from models.imaging.datasets import UNKNOWN, Box
from models.imaging.formats.kvasir_folds import FoldedFrame, move_apart, videos_in_several
from models.imaging.formats.source import (
    Source,
    base,
    by_base,
    choice,
    image_names,
    one_hot,
    plain,
    read_table,
    refuse_unknown_options,
    topmost,
)
from models.imaging.label_table import IngestRefused, LabelRow, LabelTable, Problems, csv_rows

CLASSES = (
    "Ampulla of Vater",
    "Angiectasia",
    "Blood - fresh",
    "Blood - hematin",
    "Erosion",
    "Erythema",
    "Foreign Body",
    "Ileocecal valve",
    "Lymphangiectasia",
    "Normal clean mucosa",
    "Polyp",
    "Pylorus",
    "Reduced Mucosal View",
    "Ulcer",
)
DETECTOR_LABELS = ("polyp", "bleeding", "inflammatory", "content")
# What each class says of the detector's labels. The dataset names one thing per frame, so the others are
# negative only where that thing rules them out: clean mucosa rules out all; a lesion that was judged to be of
# one kind is not of another kind, but it may bleed, and debris lies anywhere; a landmark, a foreign body,
# blood or a covered view say nothing of what else is there (eight frames show a landmark and an erosion).
_NOTHING = (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
_DETECTOR = {
    "Normal clean mucosa": (0, 0, 0, 0),
    "Polyp": (1, UNKNOWN, 0, UNKNOWN),
    "Ulcer": (0, UNKNOWN, 1, UNKNOWN),
    "Erosion": (0, UNKNOWN, 1, UNKNOWN),
    "Erythema": (0, UNKNOWN, 1, UNKNOWN),
    "Angiectasia": (0, UNKNOWN, 0, UNKNOWN),
    "Lymphangiectasia": (0, UNKNOWN, 0, UNKNOWN),
    "Blood - fresh": (UNKNOWN, 1, UNKNOWN, UNKNOWN),
    "Blood - hematin": (UNKNOWN, 1, UNKNOWN, UNKNOWN),
    "Reduced Mucosal View": (UNKNOWN, UNKNOWN, UNKNOWN, 1),
}
_COLUMNS = ("filename", "video_id", "finding_class")
_CORNERS = tuple(f"{axis}{corner}" for corner in range(1, 5) for axis in "xy")
_SPLIT_FILE = re.compile(r"split_\d{1,2}\.csv")
# Folders and the official folds spell some classes otherwise than the table.
_ALIASES = {plain(name): name for name in CLASSES} | {
    "bloodfresh": "Blood - fresh",
    "bloodhematin": "Blood - hematin",
    "ileocecalvalve": "Ileocecal valve",
    "foreignbodies": "Foreign Body",
    "normal": "Normal clean mucosa",
    "erythematous": "Erythema",
}


@dataclass
class _Frame:
    """All rows of one file name."""

    row: int
    video: str
    classes: list[str] = field(default_factory=list)
    boxes: list[tuple[str, Box]] = field(default_factory=list)


def read(members: Members, options: Mapping[str, Any], problems: Problems) -> Source:
    """Options: `split` "official" or "disjoint"; `labels` "own" (14 classes) or "detector" (our four)."""
    refuse_unknown_options(options, {"labels", "split"})
    own = choice(options, "labels", ("own", "detector")) == "own"
    disjoint = choice(options, "split", ("official", "disjoint")) == "disjoint"
    names = members.names()
    root = topmost(names, "metadata.csv")
    frames = _read_frames(read_table(members, root + "metadata.csv"), problems)
    folds = _read_folds(members, names, frames, problems)
    notes = [*_describe_folds(frames, folds), *_describe_single_videos(frames, problems)]
    if disjoint:
        notes.append(_move_apart(frames, folds))
    if not own:
        notes.append("boxes of classes that are none of the detector's labels are left out")
    labels = CLASSES if own else DETECTOR_LABELS
    rows = (
        LabelRow(
            frame.row,
            filename,
            frame.video,
            folds.get(filename, ""),
            one_hot(frame.classes, CLASSES) if own else _detector_labels(frame.classes),
        )
        for filename, frame in frames.items()
    )
    images = by_base(image_names(names), problems)
    _compare_with_folders(images, frames, problems)
    return Source(
        LabelTable(labels, tuple(rows)),
        images,
        boxes=lambda filename, _width, _height: _boxes(frames[filename], own=own),
        notes=tuple(notes),
    )


def _read_frames(data: bytes, problems: Problems) -> dict[str, _Frame]:
    # In the published file a row without a box is one field short.
    header, rows = csv_rows(data, problems, fill=True)
    if missing := set(_COLUMNS) - set(header):
        raise IngestRefused(
            "no_metadata_columns", f"metadata.csv lacks {len(missing)} of {', '.join(_COLUMNS)}"
        )
    frames: dict[str, _Frame] = {}
    for number, values in rows:
        fields = {name: value.strip() for name, value in zip(header, values, strict=True)}
        name = _ALIASES.get(plain(fields["finding_class"]))
        if name is None:
            problems.add("unknown_class", number)
            continue
        frame = frames.setdefault(fields["filename"], _Frame(number, fields["video_id"]))
        if frame.video != fields["video_id"]:
            problems.add("contradicting_row", number)
            continue
        box = _box(fields, name, number, problems)
        if box:
            frame.boxes.append((name, box))
        if name not in frame.classes:
            frame.classes.append(name)
        elif box is None:
            problems.add("repeated_row", number)
    for frame in frames.values():
        if not frame.video:
            problems.add("missing_group", frame.row)
    return frames


def _box(fields: Mapping[str, str], name: str, number: int, problems: Problems) -> Box | None:
    """Around the four corners; None where none is drawn, or where one is damaged (`box_row_invalid`)."""
    corners = [fields.get(corner, "") for corner in _CORNERS]
    if not any(corners):
        return None
    try:
        numbers = [float(corner) for corner in corners]
    except ValueError:
        problems.add("box_row_invalid", number)
        return None
    xs, ys = numbers[::2], numbers[1::2]
    return Box(name, min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def _boxes(frame: _Frame, *, own: bool) -> list[Box]:
    if own:
        return [box for _, box in frame.boxes]
    return [
        Box(label, box.x, box.y, box.w, box.h)
        for name, box in frame.boxes
        for label, value in zip(DETECTOR_LABELS, _DETECTOR.get(name, _NOTHING), strict=True)
        if value == 1
    ]


def _detector_labels(classes: Sequence[str]) -> tuple[int, ...]:
    """Of a frame with two classes, what either knows: seen before not there, not there before unknown."""
    return tuple(map(max, zip(*(_DETECTOR.get(name, _NOTHING) for name in classes), strict=True)))


def _read_folds(
    members: Members, names: Iterable[str], frames: Mapping[str, _Frame], problems: Problems
) -> dict[str, str]:
    """Fold of each frame that is in one; `split_without_frame` and `contradicting_split` otherwise."""
    folds: dict[str, str] = {}
    for name in sorted(name for name in names if _SPLIT_FILE.fullmatch(base(name))):
        fold = base(name).removesuffix(".csv")
        header, rows = csv_rows(read_table(members, name), problems)
        if "filename" not in header:
            raise IngestRefused("no_filename_column", f"{base(name)} has no column filename")
        at = header.index("filename")
        for number, values in rows:
            filename = values[at].strip()
            if filename not in frames:
                problems.add("split_without_frame", number)
            elif folds.setdefault(filename, fold) != fold:
                problems.add("contradicting_split", number)
    return folds


def _folded(frames: Mapping[str, _Frame], folds: Mapping[str, str]) -> list[FoldedFrame]:
    return [
        FoldedFrame(frames[filename].video, fold, frozenset(frames[filename].classes))
        for filename, fold in folds.items()
    ]


def _describe_folds(frames: Mapping[str, _Frame], folds: Mapping[str, str]) -> list[str]:
    if not folds:
        return ["there are no split_<n>.csv, so no frame has an official fold"]
    crossing = set(videos_in_several(_folded(frames, folds)))
    videos = {frame.video for frame in frames.values()}
    touched = sum(frames[filename].video in crossing for filename in folds)
    return [
        f"{len(crossing)} of {len(videos)} videos are in several official folds, with {touched} frames",
        f"{len(frames) - len(folds)} of {len(frames)} frames are in no official fold",
    ]


def _describe_single_videos(frames: Mapping[str, _Frame], problems: Problems) -> list[str]:
    notes = []
    for number, name in enumerate(CLASSES, 1):
        holding = [frame for frame in frames.values() if name in frame.classes]
        if len({frame.video for frame in holding}) == 1:
            problems.add("no_disjoint_split", number)
            notes.append(
                f"{name}: all frames are of one video, so no video-disjoint split has it on two sides"
            )
    return notes


def _move_apart(frames: Mapping[str, _Frame], folds: dict[str, str]) -> str:
    """Change `folds` so that no video is in two, and say what that took."""
    if not folds:
        raise IngestRefused("no_split_files", "there are no split_<n>.csv to make disjoint", "/options/split")
    placement = move_apart(_folded(frames, folds))
    for filename, fold in folds.items():
        folds[filename] = placement.fold_of.get(frames[filename].video, fold)
    kept = (
        f"but {', '.join(placement.lost)} are in one fold now"
        if placement.lost
        else "the fewest that keep every label in both"
    )
    return f"{placement.moved} frames of {len(placement.fold_of)} videos were moved to the other fold, {kept}"


def _compare_with_folders(
    images: Mapping[str, str], frames: Mapping[str, _Frame], problems: Problems
) -> None:
    """The folder of an image is named after its class; where it is another class, one of the two is wrong."""
    for filename, member in images.items():
        folder = _ALIASES.get(plain(base(member.rpartition("/")[0])))
        if folder and filename in frames and folder not in frames[filename].classes:
            problems.add("folder_contradicts_label", frames[filename].row)

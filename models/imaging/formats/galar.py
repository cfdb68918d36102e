"""`galar`: one CSV per video with a row per frame and a column per label; frames in one folder per video.

`<n>.csv` and `<n>/frame_<number>.<suffix>`, n from 1 to 80 (Le Floch et al., Scientific Data 12 (2025)); by
its 3.5 million frames it is added some videos at a time. Groups are videos.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from models.imaging.archive import Members
from models.imaging.datasets import UNKNOWN
from models.imaging.formats.source import (
    Source,
    base,
    choice,
    image_names,
    plain,
    read_table,
    refuse_unknown_options,
    stem,
)
from models.imaging.label_table import (
    VALUES,
    IngestRefused,
    LabelRow,
    LabelTable,
    Problems,
    csv_rows,
    first_of_each,
)

TECHNICAL = ("good view", "reduced view", "no view", "bubbles", "dirt")
ANATOMY = (
    "mouth",
    "esophagus",
    "stomach",
    "small intestine",
    "colon",
    "z-line",
    "pylorus",
    "ampulla of vater",
    "ileocecal valve",
)
PATHOLOGY = (
    "ulcer",
    "polyp",
    "active bleeding",
    "blood",
    "erythema",
    "erosion",
    "angiectasia",
    "IBD",
    "foreign body",
    "esophagitis",
    "varices",
    "hematin",
    "celiac",
    "cancer",
    "lymphangioectasis",
)
_ALL = (*TECHNICAL, *ANATOMY, *PATHOLOGY)
_SETS = {"all": _ALL, "pathology": PATHOLOGY, "anatomy": ANATOMY, "technical": TECHNICAL}
# Some tables have the German abbreviation.
_LABEL_OF_COLUMN = {plain(name): name for name in _ALL} | {"ced": "IBD"}
_NOT_LABELS = frozenset({"index", "frame", "video", "section", "unknown", ""})
_TABLE, _NUMBER = re.compile(r"0*(\d{1,4})\.csv"), re.compile(r"0*(\d{1,9})")
_LAST_NUMBER = re.compile(r"(?:.*\D)?" + _NUMBER.pattern)

_NOTHING = (UNKNOWN,) * len(_ALL)


class _Row(NamedTuple):
    video: int
    number: int
    frame: int
    labels: tuple[int, ...]  # of _ALL


def read(members: Members, options: Mapping[str, Any], problems: Problems) -> Source:
    """Options: `labels` "all", "pathology", "anatomy" or "technical"."""
    refuse_unknown_options(options, {"labels"})
    wanted = _SETS[choice(options, "labels", tuple(_SETS))]
    names = members.names()
    images = _images(names, problems)
    with_images = {video for video, _ in images}
    rows: list[_Row] = []
    present: set[str] = set()
    for video, name in sorted(_tables(names).items()):
        if video not in with_images:
            problems.add("video_without_images", video)
            continue
        columns = _read_video(read_table(members, name), video, rows, problems)
        present |= columns
    at = [_ALL.index(label) for label in wanted if label in present]
    if not at:
        raise IngestRefused("no_label_column", "no table of a video with frames has a column of such labels")
    # Of a million rows few differ in their labels, so each combination is kept once.
    chosen = {labels: tuple(labels[column] for column in at) for labels in {row.labels for row in rows}}
    groups = {video: f"video-{video:03d}" for video in with_images}
    table = (
        LabelRow(row.number, _name(row.video, row.frame), groups[row.video], "", chosen[row.labels])
        for row in rows
    )
    named = {_name(*key): member for key, member in images.items()}
    return Source(LabelTable(tuple(_ALL[column] for column in at), first_of_each(table, problems)), named)


def _name(video: int, frame: int) -> str:
    return f"{video}/{frame}"


def _images(names: Iterable[str], problems: Problems) -> dict[tuple[int, int], str]:
    """Members by video and frame: the numbers that folder and file name end in."""
    found: dict[tuple[int, int], str] = {}
    for name in image_names(names):
        video = _LAST_NUMBER.fullmatch(base(name.rpartition("/")[0]))
        frame = _LAST_NUMBER.fullmatch(stem(base(name)))
        if not video or not frame:
            problems.add("no_video_and_frame", 0)
        elif found.setdefault((int(video[1]), int(frame[1])), name) != name:
            problems.add("same_name_twice", int(frame[1]))
    return found


def _tables(names: Iterable[str]) -> dict[int, str]:
    tables: dict[int, str] = {}
    for name in names:
        found = _TABLE.fullmatch(base(name))
        if found and tables.setdefault(int(found[1]), name) != name:
            raise IngestRefused("several_tables", f"the files hold several tables of video {found[1]}")
    if not tables:
        raise IngestRefused("no_video_tables", "the files hold no table named after a video, such as 1.csv")
    return tables


def _read_video(data: bytes, video: int, rows: list[_Row], problems: Problems) -> set[str]:
    """Append the rows of one video; the labels that its table has."""
    header, lines = csv_rows(data, problems)
    if "frame" not in header:
        raise IngestRefused("no_frame_column", f"the table of video {video} has no column frame")
    labelled = [(at, plain(name)) for at, name in enumerate(header) if plain(name) in _LABEL_OF_COLUMN]
    columns = {_LABEL_OF_COLUMN[name]: at for at, name in labelled}
    if len(columns) != len(labelled):
        raise IngestRefused("repeated_column", f"the table of video {video} has two columns of one label")
    if set(map(plain, header)) - _LABEL_OF_COLUMN.keys() - _NOT_LABELS:
        problems.add("column_not_read", video)
    found = list(_rows_of(video, header, lines, columns, problems))
    # Few videos were judged on the view: in the others these columns are 0 without anybody having looked.
    looked = any(1 in row.labels[: len(TECHNICAL)] for row in found)
    if columns.keys() & set(TECHNICAL) and not looked:
        problems.add("technical_not_annotated", video)
        blank = _NOTHING[: len(TECHNICAL)]
        kept = {labels: blank + labels[len(TECHNICAL) :] for labels in {row.labels for row in found}}
        found = [row._replace(labels=kept[row.labels]) for row in found]
    rows.extend(found)
    return set(columns)


def _rows_of(
    video: int,
    header: list[str],
    lines: Iterable[tuple[int, list[str]]],
    columns: Mapping[str, int],
    problems: Problems,
) -> Iterator[_Row]:
    frame_at, unknown_at = header.index("frame"), header.index("unknown") if "unknown" in header else None
    labels_of = _Labels(columns)
    for number, values in lines:
        frame = _NUMBER.fullmatch(values[frame_at].strip())
        if not frame:
            problems.add("malformed_row", number)
        elif unknown_at is not None and values[unknown_at].strip() not in {"", "0", "0.0"}:
            problems.add("frame_marked_unknown", number)
            yield _Row(video, number, int(frame[1]), _NOTHING)
        else:
            labels, odd = labels_of[tuple(values[at] for at in columns.values())]
            if odd:
                problems.add("unknown_label_value", number)
            yield _Row(video, number, int(frame[1]), labels)


class _Labels(dict[tuple[str, ...], tuple[tuple[int, ...], bool]]):
    """Texts of the label columns to labels in the order of `_ALL`, and whether a text is no value."""

    def __init__(self, columns: Iterable[str]) -> None:
        super().__init__()
        self._columns = tuple(columns)

    def __missing__(self, texts: tuple[str, ...]) -> tuple[tuple[int, ...], bool]:
        values = {name: VALUES.get(text.strip()) for name, text in zip(self._columns, texts, strict=True)}
        labels = tuple(UNKNOWN if (value := values.get(label)) is None else value for label in _ALL)
        self[texts] = labels, None in values.values()
        return self[texts]

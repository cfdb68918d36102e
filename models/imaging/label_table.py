"""Tables of labels and the boxes that come with frames, checked row by row; what is wrong is counted."""

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from models.imaging.datasets import UNKNOWN, Box

MAX_LABELS = 256
_MAX_FIELD_CHARS = 1 << 16
_MAX_EXAMPLES = 20
_LABEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.()/-]{0,63}")
# "1.0" is what pandas makes of a column of integers as soon as one value is missing.
VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "": UNKNOWN}
_NOT_LABELS = frozenset({"filename", "group", "split"})


class IngestRefused(ValueError):
    """Nothing can be made of this input; `pointer` is the JSON Pointer of the field at fault."""

    def __init__(self, code: str, message: str, pointer: str = "/file_ids") -> None:
        super().__init__(message)
        self.code = code
        self.pointer = pointer


@dataclass(frozen=True)
class Problem:
    """One kind of problem: how often, and the first places, as frame or table row numbers (rows from 1)."""

    code: str
    count: int
    examples: tuple[int, ...]


class Problems:
    """Counts problems by code and keeps the first places of each."""

    def __init__(self) -> None:
        self._places: dict[str, list[int]] = {}
        self._counts: dict[str, int] = {}

    def add(self, code: str, place: int) -> None:
        """One more of this kind, at this frame or row."""
        self._counts[code] = self._counts.get(code, 0) + 1
        places = self._places.setdefault(code, [])
        if len(places) < _MAX_EXAMPLES:
            places.append(place)

    def found(self) -> tuple[Problem, ...]:
        """All kinds, by code."""
        return tuple(
            Problem(code, count, tuple(self._places[code])) for code, count in sorted(self._counts.items())
        )


@dataclass(frozen=True)
class LabelRow:
    """What the table says about one frame; `labels` are 1, 0 or -1 for unknown, in the table's order."""

    row: int
    filename: str
    group: str
    split: str
    labels: tuple[int, ...]


@dataclass(frozen=True)
class LabelTable:
    """All rows of `labels.csv`, at most one per file name."""

    labels: tuple[str, ...]
    rows: tuple[LabelRow, ...]


def read_label_table(
    data: bytes,
    problems: Problems,
    *,
    filename_column: str = "filename",
    group_column: str | None = "group",
    split_column: str | None = None,
    labels: Sequence[str] = (),
    not_labels: Sequence[str] = (),
) -> LabelTable:
    """Read a table of labels, such as `labels.csv`.

    Args:
        data: the file, UTF-8, with commas (or semicolons, see `csv_rows`) and a header.
        problems: takes `malformed_row`, `repeated_row`, `contradicting_row`, `unknown_label_value` and
            `missing_group`, each with row numbers. Of rows for one file the first counts.
        filename_column: names the column of file names.
        group_column: names the column of groups; None makes every frame its own group.
        split_column: names the column of sides or folds; None takes `split` where there is one.
        labels: the label columns; if none are named, all that are not said to be something else.
        not_labels: columns besides `filename`, `group` and `split` that are no labels.

    Returns:
        The table; a row without a group has "" there.

    Raises:
        IngestRefused: no header, no file names, no groups, no labels, or a column that is no label.
    """
    header, rows = csv_rows(data, problems)
    for role, column in (("filename", filename_column), ("group", group_column), ("split", split_column)):
        if column is not None and column not in header:
            raise IngestRefused(f"no_{role}_column", f"the table has no column {column}")
    others = {*_NOT_LABELS, *not_labels, filename_column, group_column, split_column}
    labels = tuple(labels) or tuple(name for name in header if name not in others)
    check_label_names(labels)
    if absent := set(labels) - set(header):
        raise IngestRefused("no_label_column", f"the table lacks {len(absent)} of the label columns")
    _refuse_columns_without_a_value(labels, header, rows)
    taken: list[LabelRow] = []
    for number, values in rows:
        fields = {name: value.strip() for name, value in zip(header, values, strict=True)}
        filename = fields[filename_column]
        group = fields[group_column] if group_column else filename
        known = tuple(VALUES.get(fields[label], UNKNOWN) for label in labels)
        taken.append(LabelRow(number, filename, group, fields.get(split_column or "split", ""), known))
        if not group:
            problems.add("missing_group", number)
        for label in labels:
            if fields[label] not in VALUES:
                problems.add("unknown_label_value", number)
    return LabelTable(labels, first_of_each(taken, problems))


def read_boxes(data: bytes, problems: Problems) -> dict[str, list[tuple[int, Box]]]:
    """Read `boxes.csv` (filename, label, x, y, w, h in pixels): rows and boxes by file name."""
    header, rows = csv_rows(data, problems)
    if missing := {"filename", "label", *"xywh"} - set(header):
        raise IngestRefused(
            "no_box_columns", f"boxes.csv lacks {len(missing)} of filename, label, x, y, w, h"
        )
    boxes: dict[str, list[tuple[int, Box]]] = {}
    for number, values in rows:
        fields = dict(zip(header, values, strict=True))
        try:
            box = Box(fields["label"], *(float(fields[side]) for side in "xywh"))
        except ValueError:
            problems.add("box_row_invalid", number)
            continue
        boxes.setdefault(fields["filename"], []).append((number, box))
    return boxes


def yolo_boxes(text: str, labels: Sequence[str], width_px: int, height_px: int) -> Iterator[Box | None]:
    """Boxes of a YOLO file (class, centre x and y, w, h as fractions); None for a bad line.

    Args:
        text: the file.
        labels: name of each class by its number; other numbers make a bad line.
        width_px: of the frame.
        height_px: of the frame.
    """
    for line in text.splitlines():
        try:
            kind, x, y, w, h = (float(part) for part in line.split())
        except ValueError:
            if line.strip():
                yield None
            continue
        if kind not in range(len(labels)):
            yield None
            continue
        label = labels[int(kind)]
        yield Box(label, (x - w / 2) * width_px, (y - h / 2) * height_px, w * width_px, h * height_px)


def fits(box: Box, width_px: int, height_px: int) -> bool:
    """Whether a box has an area and lies in the frame, up to one pixel of rounding."""
    return (
        all(math.isfinite(side) for side in (box.x, box.y, box.w, box.h))
        and min(box.w, box.h) > 0
        and min(box.x, box.y) >= -1
        and box.x + box.w <= width_px + 1
        and box.y + box.h <= height_px + 1
    )


def first_of_each(rows: Iterable[LabelRow], problems: Problems) -> tuple[LabelRow, ...]:
    """At most one row per file name, the first; others are `repeated_row` or `contradicting_row`."""
    seen: dict[str, LabelRow] = {}
    for row in rows:
        earlier = seen.setdefault(row.filename, row)
        if earlier is not row:
            same = (earlier.labels, earlier.group) == (row.labels, row.group)
            problems.add("repeated_row" if same else "contradicting_row", row.row)
    return tuple(seen.values())


def check_label_names(labels: Sequence[str]) -> None:
    """Refuse no labels, too many, one twice, or names that would not be safe to show or to store."""
    if not 0 < len(labels) <= MAX_LABELS:
        raise IngestRefused("no_label_column", f"a dataset has 1 to {MAX_LABELS} labels")
    if len(set(labels)) != len(labels):
        raise IngestRefused("repeated_label", "two labels have one name")
    if not all(_LABEL_NAME.fullmatch(label) for label in labels):
        raise IngestRefused("bad_label_name", "a label has an empty, long or odd name")


def csv_rows(
    data: bytes, problems: Problems, *, fill: bool = False
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the rows with their numbers from 1; a row of another length is `malformed_row`.

    Args:
        data: UTF-8, separated by semicolons where the header has them and no comma, else by commas.
        problems: takes `malformed_row`.
        fill: whether the last fields of a row may be left away; they are "" then.

    Raises:
        IngestRefused: no UTF-8, no CSV, or two columns of one name.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise IngestRefused("not_utf8", "the table is not UTF-8 text") from None
    if "\0" in text:  # PostgreSQL takes no text with it, and groups are reported by name
        raise IngestRefused("not_csv", "the table is not CSV")
    csv.field_size_limit(_MAX_FIELD_CHARS)
    rows: list[tuple[int, list[str]]] = []
    try:
        # Strict: otherwise a quote that is not closed makes one row, and one group, of two.
        first = text.partition("\n")[0]
        delimiter = ";" if ";" in first and "," not in first else ","
        lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
        header = [name.strip() for name in next(lines, [])]
        for number, values in enumerate(lines, 1):
            if fill and values:
                values.extend([""] * (len(header) - len(values)))
            if len(values) == len(header):
                rows.append((number, values))
            elif values:
                problems.add("malformed_row", number)
    except csv.Error:
        raise IngestRefused("not_csv", "the table is not CSV") from None
    if len(set(header)) != len(header):
        raise IngestRefused("repeated_column", "the table has two columns of one name")
    return header, rows


def _refuse_columns_without_a_value(
    labels: tuple[str, ...], header: list[str], rows: list[tuple[int, list[str]]]
) -> None:
    """A column such as age or site is no label, and reading it as one of unknown values would hide that."""
    for label in labels:
        values = {row[header.index(label)].strip() for _, row in rows}
        if values - {""} and not values & (VALUES.keys() - {""}):
            number = header.index(label) + 1
            raise IngestRefused("not_a_label_column", f"column {number} of the table holds no 0 or 1")

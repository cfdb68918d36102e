"""`csv`: any CSV with a row per image, its columns named by options, so that nobody has to rename theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from models.imaging.archive import Members
from models.imaging.formats.source import (
    Source,
    assume_groups,
    base,
    choice,
    image_names,
    read_table,
    refuse_unknown_options,
    topmost,
    with_strays,
)
from models.imaging.label_table import IngestRefused, LabelTable, Problems, first_of_each, read_label_table

_MAX_NAME_CHARS = 200


def read(members: Members, options: Mapping[str, Any], problems: Problems) -> Source:
    """Options: `table`, `filename`, `group`, `split` (names), `labels` (list of names), `groups`.

    `labels` may be one text with commas; `groups` is "column" or "per-frame".
    """
    refuse_unknown_options(options, {"table", "filename", "group", "split", "labels", "groups"})
    per_frame = choice(options, "groups", ("column", "per-frame")) == "per-frame"
    if per_frame and "group" in options:
        raise IngestRefused("bad_option", "group goes with groups=column", "/options/group")
    names = members.names()
    name = _table(names, options)
    table = read_label_table(
        read_table(members, name),
        problems,
        filename_column=_name(options, "filename") or "filename",
        group_column=None if per_frame else _name(options, "group") or "group",
        split_column=_name(options, "split"),
        labels=_labels(options),
    )
    if per_frame:
        assume_groups("per-frame", problems)
    root = name.removesuffix(base(name))
    inside = [image for image in image_names(names) if image.startswith(root)]
    images = {image.removeprefix(root).removeprefix("images/"): image for image in inside}
    rows = first_of_each((replace(row, filename=_path(row.filename)) for row in table.rows), problems)
    return Source(LabelTable(table.labels, rows), with_strays(images, names))


def _path(text: str) -> str:
    """A path as a table may spell it, from `images/` on."""
    return text.replace("\\", "/").removeprefix("./").removeprefix("images/")


def _table(names: Sequence[str], options: Mapping[str, Any]) -> str:
    """The member that `table` names, or the only topmost CSV."""
    wanted = _name(options, "table")
    if wanted is not None:
        return topmost(names, wanted, "table") + wanted
    tables = {base(name) for name in names if name.lower().endswith(".csv")}
    if len(tables) != 1:
        message = f"the files hold {len(tables)} tables (.csv): name the one with the labels"
        raise IngestRefused("bad_option", message, "/options/table")
    only = tables.pop()
    return topmost(names, only, "table") + only


def _name(options: Mapping[str, Any], option: str) -> str | None:
    value = options.get(option)
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= _MAX_NAME_CHARS):
        raise IngestRefused("bad_option", f"{option} is a name", f"/options/{option}")
    return value


def _labels(options: Mapping[str, Any]) -> list[str]:
    given = options.get("labels", [])
    named = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise IngestRefused("bad_option", "labels is a list of column names", "/options/labels")
    return named

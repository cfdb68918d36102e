"""`folders`: one folder per class, one class per frame.

`<class>/<file>`, with `groups=folder` `<class>/<group>/<file>`, and with `split=folder` one more folder above
the class. Only whoever made the folders knows which frames belong together, so that has to be said.
"""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from models.imaging.archive import Members
from models.imaging.formats.name_pattern import group_from_name
from models.imaging.formats.source import (
    Source,
    assume_groups,
    base,
    choice,
    image_names,
    one_hot,
    refuse_unknown_options,
    stem,
)
from models.imaging.label_table import IngestRefused, LabelRow, LabelTable, Problems, check_label_names

_GROUPS = ("prefix", "folder", "per-frame", "pattern")


def read(members: Members, options: Mapping[str, Any], problems: Problems) -> Source:
    """Options: `groups` (see `_group_of`), `group_pattern`, `split` "none" or "folder"."""
    refuse_unknown_options(options, {"groups", "group_pattern", "split"})
    if "groups" not in options:
        message = f"groups is needed, one of {', '.join(_GROUPS)}: which frames are of one patient or video"
        raise IngestRefused("bad_option", message, "/options/groups")
    groups = choice(options, "groups", _GROUPS)
    above_class = choice(options, "split", ("none", "folder")) == "folder"
    group_of = _group_of(groups, options, problems)
    images = {name: name for name in image_names(members.names())}
    # From the file upwards: perhaps the group, the class, perhaps the side.
    class_at = 2 if groups == "folder" else 1
    rows, classes = [], []
    for number, name in enumerate(images, 1):
        above = PurePosixPath(name).parts[:-1][::-1]
        if len(above) < class_at + above_class:
            problems.add("no_class_folder", number)
            continue
        classes.append(above[class_at - 1])
        rows.append((number, name, above[class_at] if above_class else ""))
    labels = tuple(sorted(set(classes)))
    check_label_names(labels)
    table = tuple(
        LabelRow(number, name, group_of(name), split, one_hot([label], labels))
        for (number, name, split), label in zip(rows, classes, strict=True)
    )
    for row in table:
        if not row.group:
            problems.add("missing_group", row.row)
    return Source(LabelTable(labels, table), images)


def _group_of(groups: str, options: Mapping[str, Any], problems: Problems) -> Callable[[str], str]:
    """From a member's name to its group.

    "prefix": the file name up to its last underscore, as in patient7_0041.png; "folder": the folder it lies
    in; "per-frame": each its own; "pattern": what `group_pattern` finds in the file name.
    """
    if groups == "pattern":
        pattern = group_from_name(options.get("group_pattern"))
        return lambda name: pattern(base(name))
    if "group_pattern" in options:
        raise IngestRefused("bad_option", "group_pattern goes with groups=pattern", "/options/group_pattern")
    if groups == "per-frame":
        assume_groups(groups, problems)
        return lambda name: name
    if groups == "folder":
        return lambda name: base(name.rpartition("/")[0])
    return lambda name: stem(base(name)).rpartition("_")[0]

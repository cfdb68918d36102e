"""`hyper-kvasir`: HyperKvasir's labelled images, and its segmented ones where they are there too.

`labeled-images/<tract>/<category>/<class>/<id>.jpg`, `image-labels.csv`, perhaps the official
`<n>_fold_split.csv`; `segmented-images/` with `images/`, `masks/` and `bounding-boxes.json` (Borgli et al.,
Scientific Data 7 (2020)). Nothing says which patient a frame is of; the official folds do not know either.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from models.imaging.archive import Members
from models.imaging.datasets import UNKNOWN
from models.imaging.formats.segmented import boxes_of, in_folder, masks_of
from models.imaging.formats.source import (
    Source,
    assume_groups,
    base,
    by_base,
    choice,
    image_names,
    one_hot,
    plain,
    read_table,
    refuse_unknown_options,
    stem,
    with_strays,
)
from models.imaging.label_table import (
    IngestRefused,
    LabelRow,
    LabelTable,
    Problems,
    check_label_names,
    csv_rows,
)

_POLYPS = "polyps"
_FOLDS = re.compile(r"(\d{1,2})_fold_split\.csv")
_SEGMENTED = "segmented-images"
_LABELLED = frozenset({"labeled-images", "lower-gi-tract", "upper-gi-tract"})
# Of the table: file name without its suffix, and class.
_NAME_COLUMN, _CLASS_COLUMN = "Video file", "Finding"


def read(members: Members, options: Mapping[str, Any], problems: Problems) -> Source:
    """Options: `groups` "one" or "per-frame"; `folds`, the number of official folds to take, 2 or 5."""
    refuse_unknown_options(options, {"groups", "folds"})
    groups = choice(options, "groups", ("one", "per-frame"))
    if groups != "one":
        assume_groups(groups, problems)
    names = members.names()
    segmented, labelled = _parts(names)
    images = by_base([*labelled, *segmented], problems)
    labels = tuple(sorted({_folder(name) for name in labelled} | ({_POLYPS} if segmented else set())))
    if not images:
        raise IngestRefused("no_class_folders", "the files hold no labeled-images/ or segmented-images/")
    check_label_names(labels)
    folds = _read_folds(members, names, options, problems)
    drawn = [base(name) for name in segmented]
    masks = masks_of(names, _POLYPS, drawn, problems)
    boxes = boxes_of(members, names, _POLYPS, drawn, problems)
    inside = set(segmented)
    rows = []
    for number, (filename, member) in enumerate(images.items(), 1):
        problems.add("group_unknown", number)
        # Whoever drew the polyps was not asked for the other classes.
        values = (
            tuple(1 if label == _POLYPS else UNKNOWN for label in labels)
            if member in inside
            else one_hot([_folder(member)], labels)
        )
        group = filename if groups == "per-frame" else "hyper-kvasir"
        rows.append(LabelRow(number, filename, group, folds.get(filename, ""), values))
    _compare_with_table(members, names, {stem(base(name)): _folder(name) for name in labelled}, problems)
    return Source(
        LabelTable(labels, tuple(rows)),
        with_strays(images, names, [*segmented, *labelled, *in_folder(names, "masks").values()]),
        boxes=lambda filename, _width, _height: boxes.get(stem(filename), []),
        masks=lambda filename: masks.get(stem(filename), {}),
    )


def _folder(member: str) -> str:
    """The class: the folder an image lies in."""
    return base(member.rpartition("/")[0])


def _parts(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Segmented and labelled images; masks are neither."""
    segmented, labelled = [], []
    for name in image_names(names):
        above = name.split("/")[:-1]
        if _SEGMENTED in above:
            if above[-1] == "images":
                segmented.append(name)
        elif _LABELLED & set(above):
            labelled.append(name)
    return segmented, labelled


def _read_folds(
    members: Members, names: Iterable[str], options: Mapping[str, Any], problems: Problems
) -> dict[str, str]:
    """Fold of each file name in the official split of that many folds, if there is one."""
    found = {int(match[1]): name for name in names if (match := _FOLDS.fullmatch(base(name)))}
    wanted = options.get("folds", min(found, default=None))
    if wanted is None:
        return {}
    if type(wanted) is not int or wanted not in found:
        raise IngestRefused(
            "bad_option", "there is no <n>_fold_split.csv of that many folds", "/options/folds"
        )
    header, rows = csv_rows(read_table(members, found[wanted]), problems)
    if missing := {"file-name", "split-index"} - set(header):
        raise IngestRefused("no_split_columns", f"the split lacks the column {min(missing)}")
    name_at, fold_at = header.index("file-name"), header.index("split-index")
    return {values[name_at].strip(): f"fold-{values[fold_at].strip()}" for _, values in rows}


def _compare_with_table(
    members: Members, names: Iterable[str], folders: Mapping[str, str], problems: Problems
) -> None:
    for name in sorted(name for name in names if base(name) == "image-labels.csv"):
        header, rows = csv_rows(read_table(members, name), problems)
        if not {_NAME_COLUMN, _CLASS_COLUMN} <= set(header):
            raise IngestRefused(
                "no_label_columns", f"image-labels.csv lacks {_NAME_COLUMN} or {_CLASS_COLUMN}"
            )
        name_at, class_at = header.index(_NAME_COLUMN), header.index(_CLASS_COLUMN)
        for number, values in rows:
            folder = folders.get(stem(base(values[name_at].strip())))
            if folder is None:
                problems.add("label_without_image", number)
            elif plain(folder) != plain(values[class_at]):
                problems.add("folder_contradicts_label", number)

"""What a format makes of the files people have: one table, images, boxes and masks; and what formats share.

Names of files and folders are evidence only where a format says so; none reaches training.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from models.imaging.archive import MemberRefused, Members
from models.imaging.datasets import Box
from models.imaging.label_table import IngestRefused, LabelTable, Problems

# Also those that no decoder takes: an image that is not read has to be reported, a licence text has not.
_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"})
DEFAULT_BLOCK_SIZE = 200
_MAX_INDEX_DIGITS = 18


def _no_boxes(filename: str, width_px: int, height_px: int) -> list[Box]:
    return []


def _no_masks(filename: str) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Source:
    """A dataset before its images are opened.

    Attributes:
        table: labels, group and side of each frame.
        images: the names that the table uses, to members.
        boxes: the boxes of one frame, in its pixels, from its name, width and height.
        masks: label to member, for the name of one frame.
        notes: sentences for whoever reads the report; no names of files or people in them.
    """

    table: LabelTable
    images: Mapping[str, str]
    boxes: Callable[[str, int, int], list[Box]] = _no_boxes
    masks: Callable[[str], Mapping[str, str]] = _no_masks
    notes: tuple[str, ...] = ()


Format = Callable[[Members, Mapping[str, Any], Problems], Source]


def refuse_unknown_options(options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse a misspelt option, which would otherwise be an option not followed."""
    known = sorted(known)
    for name in options.keys() - set(known):
        message = f"the options are {', '.join(known)}" if known else "this format has no options"
        raise IngestRefused("unknown_option", message, f"/options/{name}")


def choice(options: Mapping[str, Any], name: str, allowed: Sequence[str]) -> str:
    """One of `allowed`, the first if the option is not given."""
    chosen = options.get(name, allowed[0])
    if chosen not in allowed:
        raise IngestRefused("bad_option", f"{name} is one of {', '.join(allowed)}", f"/options/{name}")
    return str(chosen)


def whole_number(options: Mapping[str, Any], name: str, default: int) -> int:
    """A whole number from 1 on."""
    value = options.get(name, default)
    if type(value) is not int or value < 1:
        raise IngestRefused("bad_option", f"{name} is a whole number from 1 on", f"/options/{name}")
    return value


def assume_groups(how: str, problems: Problems) -> None:
    """Say that groups are an assumption: everybody who reads a score of this dataset must see it.

    Whoever asked for it chose it. One group for all frames of a source assumes nothing and leaks nothing.
    """
    problems.add(f"groups_assumed_{how.replace('-', '_')}", 0)


def topmost(names: Iterable[str], filename: str, word: str = "") -> str:
    """The folder, with its slash, of the topmost file of that name: zips often have all inside one folder.

    `word` stands in the codes for a file name that is not the format's own.

    Raises:
        IngestRefused: there is none, or two lie equally deep.
    """
    tables = sorted((name for name in names if base(name) == filename), key=lambda name: name.count("/"))
    word = word or filename.replace(".", "_")
    if not tables:
        raise IngestRefused(f"no_{word}", f"the files hold no {filename}")
    if len(tables) > 1 and tables[0].count("/") == tables[1].count("/"):
        raise IngestRefused(f"several_{word}", f"the files hold several {filename} side by side")
    return tables[0].removesuffix(filename)


def read_table(members: Members, name: str) -> bytes:
    """The bytes of a table, without which nothing can be made of the rest."""
    try:
        return members.read(name)
    except MemberRefused as refused:
        raise IngestRefused(refused.code, "a table cannot be read") from None


def image_names(names: Iterable[str]) -> list[str]:
    """The members that are images by their suffix, sorted."""
    return sorted(name for name in names if PurePosixPath(name).suffix.lower() in _IMAGE_SUFFIXES)


def base(name: str) -> str:
    """The last part of a path."""
    return name.rpartition("/")[2]


def stem(filename: str) -> str:
    """A path without its last suffix."""
    path = PurePosixPath(filename)
    return str(path.with_suffix("")) if path.name else filename  # "." and "/" have no name


def by_base(names: Iterable[str], problems: Problems) -> dict[str, str]:
    """Members by their last part, which is all that some tables name; `same_name_twice` if there are two."""
    found: dict[str, str] = {}
    for name in names:
        if found.setdefault(base(name), name) != name:
            problems.add("same_name_twice", 0)
    return found


def with_strays(images: Mapping[str, str], names: Iterable[str], known: Iterable[str] = ()) -> dict[str, str]:
    """These and all other images, so that those without a place in the layout are reported and not lost."""
    placed = {*images.values(), *known}
    return {**images, **{name: name for name in image_names(names) if name not in placed}}


def masks_by_stem(names: Iterable[str], folder: str) -> dict[str, dict[str, str]]:
    """Members of `<folder><label>/<stem>.<suffix>`, by stem of the frame, then by label."""
    masks: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(names):
        label, slash, rest = name.removeprefix(folder).partition("/")
        if name.startswith(folder) and slash:
            masks[stem(rest)][label] = name
    return masks


def one_hot(positive: Iterable[str], labels: Sequence[str]) -> tuple[int, ...]:
    """1 for the named labels and 0 for all others: for datasets that judge each frame on all of them."""
    named = set(positive)
    return tuple(int(label in named) for label in labels)


def plain(name: str) -> str:
    """A class name as people spell it in folders and tables: no case, no space, no punctuation."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def images_beside(root: str, names: frozenset[str]) -> dict[str, str]:
    """Members by the name that tables call them: in `images/` where there is one, else beside the tables."""
    folder = root + "images/"
    if not any(name.startswith(folder) for name in names):
        folder = root
    others = (root + "masks/", root + "labels/", root + "labels.csv", root + "boxes.csv")
    inside = sorted(name for name in names if name.startswith(folder) and not name.startswith(others))
    return {name.removeprefix(folder): name for name in inside}


def block_name(index: str, block_size: int) -> str:
    """The group of a running number, in digits; "" for what is no such number."""
    if not index.isdecimal() or len(index) > _MAX_INDEX_DIGITS:
        return ""
    return f"block-{int(index) // block_size:05d}"

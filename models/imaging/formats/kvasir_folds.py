"""The official folds of Kvasir-Capsule, what leaks between them, and the fewest frames to move to stop it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from models.imaging.label_table import IngestRefused

# All ways to place the videos are tried: 2^7 for the official folds.
_MAX_WAYS = 1 << 12


@dataclass(frozen=True)
class FoldedFrame:
    """A frame that the dataset's maker put into a fold."""

    video: str
    fold: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Placement:
    """The one fold of each video that was in several, how many frames that moves, and what it costs.

    Attributes:
        fold_of: the fold by video.
        moved: frames that change their fold.
        lost: labels that were in several folds and are in one now, sorted.
    """

    fold_of: Mapping[str, str]
    moved: int
    lost: tuple[str, ...]


def videos_in_several(frames: Iterable[FoldedFrame]) -> tuple[str, ...]:
    """Videos with frames in more than one fold, sorted."""
    folds: dict[str, set[str]] = defaultdict(set)
    for frame in frames:
        folds[frame.video].add(frame.fold)
    return tuple(sorted(video for video, its in folds.items() if len(its) > 1))


def move_apart(frames: Sequence[FoldedFrame]) -> Placement:
    """Put each video into one fold, so that the fewest labels, then the fewest frames, leave their fold.

    Raises:
        IngestRefused: so many videos are in several folds that not all ways can be tried.
    """
    crossing, folds = videos_in_several(frames), sorted({frame.fold for frame in frames})
    if len(folds) ** len(crossing) > _MAX_WAYS:
        raise IngestRefused(
            "folds_too_mixed", f"{len(crossing)} videos are in several folds: too many to move"
        )
    size = Counter((frame.video, frame.fold) for frame in frames)
    holders = _holders(frames)
    shared = {label for label, places in holders.items() if len({fold for _, fold in places}) > 1}

    def place(ways: tuple[str, ...]) -> Placement:
        fold_of = dict(zip(crossing, ways, strict=True))
        moved = sum(
            count for (video, fold), count in size.items() if video in fold_of and fold_of[video] != fold
        )
        lost = (
            label
            for label in shared
            if len({fold_of.get(video, fold) for video, fold in holders[label]}) == 1
        )
        return Placement(fold_of, moved, tuple(sorted(lost)))

    ways = product(folds, repeat=len(crossing))
    return min(map(place, ways), key=lambda placed: (len(placed.lost), placed.moved))


def _holders(frames: Iterable[FoldedFrame]) -> dict[str, set[tuple[str, str]]]:
    """Where each label is: its (video, fold) pairs."""
    holders: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for frame in frames:
        for label in frame.labels:
            holders[label].add((frame.video, frame.fold))
    return holders

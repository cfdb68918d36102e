"""Which frames of a dataset a classifier learns from, with one class each and sides that do not leak.

Shape suffixes: N frames that are kept, M of one side, H W C pixels, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.imaging.classes import NO_CLASS, Classes, classes_of, one_hot
from models.imaging.mixture import Frames
from models.imaging.prepare import TrainingRefused, describe_split, link_groups
from models.imaging.splits import SplitImpossible, audit_split, split_groups
from models.schema import JsonObject, SchemaError, encode


@dataclass(frozen=True)
class Side:
    """M frames of one side.

    Attributes:
        frames_NHWC: uint8 RGB of these frames and maybe others, backed by a file.
        rows_M: where in it.
        class_M: 0..K-1.
    """

    frames_NHWC: npt.NDArray[np.uint8]
    rows_M: npt.NDArray[np.int64]
    class_M: npt.NDArray[np.int64]


@dataclass(frozen=True)
class DividedFrames:
    """Frames with one of the K classes that can be learnt, and the side each is on.

    Attributes:
        ordinals_N: their numbers in the dataset.
        class_N: 0..K-1.
        class_names: the K names.
        groups_N: patient, video or block.
        sides_N: "train", "tune" or "test".
        notes: JSON-able account of what was left out, of the split and of what is wrong with it.
    """

    ordinals_N: npt.NDArray[np.int64]
    class_N: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    groups_N: npt.NDArray[np.str_]
    sides_N: npt.NDArray[np.str_]
    notes: JsonObject

    def on(self, side: str) -> npt.NDArray[np.int64]:
        """Rows (not ordinals) of the frames on one side."""
        return np.flatnonzero(self.sides_N == side)

    def side(self, name: str, frames_NHWC: npt.NDArray[np.uint8]) -> Side:
        """The frames of one side, pixels of all N given."""
        return Side(frames_NHWC, self.on(name), self.class_N[self.on(name)])


def divide(
    dataset: Frames, *, none_class: str | None, fractions: Mapping[str, float], seed: int
) -> DividedFrames:
    """Give each frame its class, split by group, and keep the classes that the training side has.

    Raises:
        SchemaError: `/none_class` is a label already.
        TrainingRefused: `no_learnable_label`, `one_class`, `too_few_groups` or `no_tune_class`.
    """
    classes = read_classes(dataset, none_class=none_class)
    ordinals = np.flatnonzero(classes.class_N != NO_CLASS)
    if len(ordinals) == 0:
        raise TrainingRefused("no_learnable_label", "no frame has a class: one known label, or none of any")
    groups_N, hashes_N = dataset.groups()[ordinals], dataset.hashes()[ordinals]
    class_N = classes.class_N[ordinals]
    sides_N, merged = _split(groups_N, hashes_N, one_hot(class_N, len(classes.names)), fractions, seed)
    learnt = np.unique(class_N[sides_N == "train"])
    if len(learnt) < 2:
        raise TrainingRefused(
            "one_class",
            "the training side has one class only; `none_class` makes another of frames without a label",
        )
    kept_N = np.isin(class_N, learnt)
    if len(np.unique(class_N[kept_N & (sides_N == "tune")])) < 2:
        raise TrainingRefused("no_tune_class", "the side that chooses the epoch has frames of one class only")
    problems = audit_split(
        sides_N, groups_N, one_hot(class_N, len(classes.names)), label_names=classes.names, hashes=hashes_N
    )
    notes = {
        "split": describe_split(sides_N, groups_N) | {"seed": seed, "merged_groups": merged},
        "split_problems": encode(problems),
        "left_out": classes.left_out,
        "not_learnt": [name for number, name in enumerate(classes.names) if number not in learnt],
    }
    return DividedFrames(
        ordinals[kept_N],
        np.searchsorted(learnt, class_N[kept_N]),
        tuple(classes.names[number] for number in learnt),
        groups_N[kept_N],
        sides_N[kept_N],
        notes,
    )


def read_classes(dataset: Frames, *, none_class: str | None) -> Classes:
    """The dataset's label columns as classes; raises SchemaError where `none_class` is one of them."""
    names, labels_NK = dataset.labels()
    try:
        return classes_of(labels_NK, names, none_class=none_class)
    except ValueError as error:
        raise SchemaError("/none_class", str(error)) from error


def _split(
    groups_N: npt.NDArray[np.str_],
    hashes_N: npt.NDArray[np.str_],
    labels_NK: npt.NDArray[np.int8],
    fractions: Mapping[str, float],
    seed: int,
) -> tuple[npt.NDArray[np.str_], int]:
    """Sides, and how many groups shared a frame with another."""
    linked_N = link_groups(groups_N, hashes_N)
    try:
        sides_N = split_groups(linked_N, labels_NK, fractions=fractions, seed=seed)
    except SplitImpossible as error:
        raise TrainingRefused(
            "too_few_groups",
            "needs three groups (patients, videos) or more that share no frame, to train, tune and test on",
        ) from error
    return sides_N, len(np.unique(groups_N)) - len(np.unique(linked_N))

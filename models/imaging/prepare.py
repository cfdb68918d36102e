"""From a dataset of frames to arrays that can be trained on: learnable labels, sides that do not leak.

Three steps, so that several splits can share one decoding: the table of all frames, its division into sides,
the pixels. Whatever can be refused is refused before the first frame is decoded.
Shape suffixes: N frames, K labels, H W C pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models.events import Event
from models.imaging.decoded import Coverage, decode_frames, read_coverage
from models.imaging.evidence import one_kind
from models.imaging.mixture import Frames
from models.imaging.splits import SplitImpossible, audit_split, split_groups
from models.schema import JsonObject, encode

SIDES = ("train", "tune", "test")
# How published datasets call them.
_OWN_NAMES = {
    "train": "train",
    "training": "train",
    "tune": "tune",
    "val": "tune",
    "valid": "tune",
    "validation": "tune",
    "test": "test",
    "testing": "test",
}
SplitName = Literal["grouped", "own"]


class TrainingRefused(ValueError):
    """Nothing honest can be trained from this dataset; `code` is from a closed list."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class FrameTable:
    """What is known of the N frames of a dataset without a look at them.

    Attributes:
        label_names: the K names.
        labels_NK: 1, 0 or -1 for unknown.
        groups_N: patient, video or block.
        linked_N: the same, groups that share an identical frame being one.
        hashes_N: SHA-256 of each frame.
        own_N: the side that the dataset's maker put each frame on; "" where he says nothing.
        synthetic_N: bool, drawn by code.
    """

    label_names: tuple[str, ...]
    labels_NK: npt.NDArray[np.int8]
    groups_N: npt.NDArray[np.str_]
    linked_N: npt.NDArray[np.str_]
    hashes_N: npt.NDArray[np.str_]
    own_N: npt.NDArray[np.str_]
    synthetic_N: npt.NDArray[np.bool_]

    def part(self, rows_M: npt.NDArray[np.int64]) -> "FrameTable":
        """The table of some frames."""
        columns = ("labels_NK", "groups_N", "linked_N", "hashes_N", "own_N", "synthetic_N")
        return replace(self, **{name: getattr(self, name)[rows_M] for name in columns})


@dataclass(frozen=True)
class Division:
    """Frames on their sides, and what can be learnt there.

    Attributes:
        table: of all frames and labels.
        sides_N: "train", "tune" or "test".
        learnt_K: bool, which labels of the table can be learnt.
        notes: JSON-able account of the split and of what is wrong with the dataset.
    """

    table: FrameTable
    sides_N: npt.NDArray[np.str_]
    learnt_K: npt.NDArray[np.bool_]
    notes: JsonObject

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(
            name for name, learnt in zip(self.table.label_names, self.learnt_K, strict=True) if learnt
        )


@dataclass(frozen=True)
class PreparedFrames:
    """Frames in memory, with the K labels that can be learnt and the side each frame is on.

    Attributes:
        pixels_NHWC: uint8 RGB, backed by a file.
        labels_NK: 1, 0 or -1 for unknown.
        label_names: the K names.
        groups_N: patient, video or block.
        sides_N: "train", "tune" or "test".
        synthetic_N: bool, drawn by code.
        coverage: where lesions are, if anybody has drawn it.
        notes: JSON-able account of the split and of what is wrong with the dataset.
    """

    pixels_NHWC: npt.NDArray[np.uint8]
    labels_NK: npt.NDArray[np.int8]
    label_names: tuple[str, ...]
    groups_N: npt.NDArray[np.str_]
    sides_N: npt.NDArray[np.str_]
    synthetic_N: npt.NDArray[np.bool_]
    coverage: Coverage | None
    notes: JsonObject

    def on(self, side: str) -> npt.NDArray[np.int64]:
        """Numbers of the frames on one side."""
        return np.flatnonzero(self.sides_N == side)


def read_table(dataset: Frames) -> FrameTable:
    """The table of a dataset."""
    names, labels_NK = dataset.labels()
    groups_N, hashes_N = dataset.groups(), dataset.hashes()
    linked_N = link_groups(groups_N, hashes_N)
    return FrameTable(
        names, labels_NK, groups_N, linked_N, hashes_N, dataset.splits(), dataset.drawn_by_code()
    )


def split_table(
    table: FrameTable, split: SplitName, *, fractions: Mapping[str, float], seed: int
) -> npt.NDArray[np.str_]:
    """The side of each frame, str [N].

    "grouped" puts every group on one side; "own" takes the sides that the dataset's maker chose, and cuts
    what is to be tuned on from his training groups where he left none.

    Raises:
        TrainingRefused: `too_few_groups`, or `no_own_split`.
    """
    if split == "grouped":
        return _by_group(table, np.arange(len(table.linked_N)), fractions, seed)
    sides_N = np.array([_OWN_NAMES.get(name.lower(), "") for name in table.own_N], np.str_)
    if not {"train", "test"} <= set(sides_N) <= set(SIDES):
        message = "the dataset does not say of every frame whether it is for training, validation or test"
        raise TrainingRefused("no_own_split", message)
    if "tune" not in sides_N:
        train_M, kept = np.flatnonzero(sides_N == "train"), fractions["tune"]
        sides_N[train_M] = _by_group(table, train_M, {"train": 1 - kept, "tune": kept}, seed)
    return sides_N


def divide(table: FrameTable, sides_N: npt.NDArray[np.str_], *, seed: int) -> Division:
    """Find the labels that can be learnt on these sides.

    Raises:
        TrainingRefused: `no_learnable_label` or `no_tune_label`.
    """
    learnt_K = learnable(table.labels_NK, sides_N == "train")
    if not learnt_K.any():
        raise TrainingRefused(
            "no_learnable_label", "no label has known positives and negatives on the training side"
        )
    tune_N = sides_N == "tune"
    judged_MK, _ = one_kind(table.labels_NK[tune_N][:, learnt_K], table.synthetic_N[tune_N])
    if not learnable(judged_MK, np.ones(len(judged_MK), bool)).any():
        raise TrainingRefused(
            "no_tune_label", "no label has positives and negatives on the side that chooses the epoch"
        )
    problems = audit_split(
        sides_N, table.groups_N, table.labels_NK, label_names=table.label_names, hashes=table.hashes_N
    )
    merged = _count(table.groups_N) - _count(table.linked_N)
    notes = {
        "split": describe_split(sides_N, table.groups_N) | {"seed": seed, "merged_groups": merged},
        "split_problems": encode(problems),
        "not_learnt": [n for n, learnt in zip(table.label_names, learnt_K, strict=True) if not learnt],
    }
    return Division(table, sides_N, learnt_K, notes)


def decode(
    dataset: Frames,
    *,
    size_px: int,
    work_dir: Path,
    report: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> npt.NDArray[np.uint8]:
    """All frames as squares, uint8 [N, size, size, 3], in a file of `work_dir`.

    Raises:
        Stopped: on request.
        Undecodable: the pack is not what was ingested.
    """
    return decode_frames(
        dataset,
        np.arange(len(dataset)),
        size_px=size_px,
        path=work_dir / "frames.npy",
        report=report,
        should_stop=should_stop,
    )


def prepared(
    division: Division, pixels_NHWC: npt.NDArray[np.uint8], coverage: Coverage | None
) -> PreparedFrames:
    """A division with the pixels and the lesions of its labels."""
    table = division.table
    return PreparedFrames(
        pixels_NHWC,
        table.labels_NK[:, division.learnt_K],
        division.label_names,
        table.groups_N,
        division.sides_N,
        table.synthetic_N,
        coverage,
        division.notes,
    )


def drawn_lesions(dataset: Frames, division: Division) -> Coverage | None:
    """Where the lesions of the learnt labels are."""
    return read_coverage(dataset, np.arange(len(dataset)), division.label_names)


def _by_group(
    table: FrameTable, chosen_M: npt.NDArray[np.int64], fractions: Mapping[str, float], seed: int
) -> npt.NDArray[np.str_]:
    try:
        return split_groups(
            table.linked_N[chosen_M], table.labels_NK[chosen_M], fractions=fractions, seed=seed
        )
    except SplitImpossible as error:
        needed = {2: "two", 3: "three"}[len(fractions)]
        message = f"needs {needed} groups (patients, videos) or more that share no frame: one for each side"
        raise TrainingRefused("too_few_groups", message) from error


def link_groups(groups_N: npt.NDArray[np.str_], hashes_N: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Groups that share an identical frame become one: on two sides, that frame would be its own answer."""
    names, group_N = np.unique(groups_N, return_inverse=True)
    frames, frame_N = np.unique(hashes_N, return_inverse=True)
    size = len(names) + len(frames)
    edges = coo_array((np.ones(len(groups_N)), (group_N, len(names) + frame_N)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    # Named after a member, so that a group linked to no other keeps its name.
    first = {
        int(number): str(name)
        for number, name in zip(component[: len(names)][::-1], names[::-1], strict=True)
    }
    return np.array([first[int(component[group])] for group in group_N], dtype=np.str_)


def learnable(labels_NK: npt.NDArray[np.int8], chosen_N: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Bool [K]: which labels have a known positive and a known negative among the chosen frames."""
    chosen = labels_NK[chosen_N]
    return np.asarray((chosen == 1).any(axis=0) & (chosen == 0).any(axis=0))


def describe_split(sides_N: npt.NDArray[np.str_], groups_N: npt.NDArray[np.str_]) -> JsonObject:
    """How many frames and groups are on each side."""
    return {
        "frames": {side: int((sides_N == side).sum()) for side in SIDES},
        "groups": {side: _count(groups_N[sides_N == side]) for side in SIDES},
    }


def _count(groups_N: npt.NDArray[np.str_]) -> int:
    return len(np.unique(groups_N))

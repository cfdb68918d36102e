"""From a dataset of frames to arrays that can be trained on: learnable labels, sides that do not leak.

Shape suffixes: N frames, K labels, H W C pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models.events import Event
from models.imaging.datasets import FramesDataset
from models.imaging.decoded import Coverage, decode_frames, read_coverage
from models.imaging.splits import SplitImpossible, audit_split, split_groups
from models.schema import JsonObject, encode


class TrainingRefused(ValueError):
    """Nothing honest can be trained from this dataset; `code` is from a closed list."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class PreparedFrames:
    """Frames in memory, with the K labels that can be learnt and the side each frame is on.

    Attributes:
        pixels_NHWC: uint8 RGB, backed by a file.
        labels_NK: 1, 0 or -1 for unknown.
        label_names: the K names.
        groups_N: patient, video or block.
        sides_N: "train", "tune" or "test".
        coverage: where lesions are, if anybody has drawn it.
        notes: JSON-able account of the split and of what is wrong with the dataset.
    """

    pixels_NHWC: npt.NDArray[np.uint8]
    labels_NK: npt.NDArray[np.int8]
    label_names: tuple[str, ...]
    groups_N: npt.NDArray[np.str_]
    sides_N: npt.NDArray[np.str_]
    coverage: Coverage | None
    notes: JsonObject

    def on(self, side: str) -> npt.NDArray[np.int64]:
        """Numbers of the frames on one side."""
        return np.flatnonzero(self.sides_N == side)


def prepare(
    dataset: FramesDataset,
    *,
    size_px: int,
    fractions: Mapping[str, float],
    seed: int,
    work_dir: Path,
    report: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> PreparedFrames:
    """Split by group, find the labels that can be learnt, then decode every frame once.

    Args:
        dataset: an ingested dataset of frames.
        size_px: side of the squares.
        fractions: of train, tune and test.
        seed: of the split.
        work_dir: gets the file of the decoded frames.
        report: told of the progress.
        should_stop: polled while decoding.

    Raises:
        TrainingRefused: `too_few_groups`, `no_learnable_label` or `no_tune_label`.
        Stopped: on request.
        Undecodable: the pack is not what was ingested.
    """
    names, labels_NK = dataset.labels()
    groups_N, hashes_N = dataset.groups(), dataset.hashes()
    linked_N = link_groups(groups_N, hashes_N)
    try:
        sides_N = split_groups(linked_N, labels_NK, fractions=fractions, seed=seed)
    except SplitImpossible as error:
        message = (
            "needs three groups (patients, videos) or more that share no frame, to train, tune and test on"
        )
        raise TrainingRefused("too_few_groups", message) from error
    learnt = learnable(labels_NK, sides_N == "train")
    if not learnt.any():
        raise TrainingRefused(
            "no_learnable_label", "no label has known positives and negatives on the training side"
        )
    if not learnable(labels_NK[:, learnt], sides_N == "tune").any():
        raise TrainingRefused(
            "no_tune_label", "no label has positives and negatives on the side that chooses the epoch"
        )
    ordinals = np.arange(len(dataset))
    pixels_NHWC = decode_frames(
        dataset,
        ordinals,
        size_px=size_px,
        path=work_dir / "frames.npy",
        report=report,
        should_stop=should_stop,
    )
    label_names = tuple(name for name, keep in zip(names, learnt, strict=True) if keep)
    problems = audit_split(sides_N, groups_N, labels_NK, label_names=names, hashes=hashes_N)
    notes = {
        "split": _describe(sides_N, groups_N)
        | {"seed": seed, "merged_groups": _count(groups_N) - _count(linked_N)},
        "split_problems": encode(problems),
        "not_learnt": [name for name in names if name not in label_names],
    }
    return PreparedFrames(
        pixels_NHWC,
        labels_NK[:, learnt],
        label_names,
        groups_N,
        sides_N,
        read_coverage(dataset, ordinals, label_names),
        notes,
    )


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


def _describe(sides_N: npt.NDArray[np.str_], groups_N: npt.NDArray[np.str_]) -> JsonObject:
    sides = ("train", "tune", "test")
    return {
        "frames": {side: int((sides_N == side).sum()) for side in sides},
        "groups": {side: _count(groups_N[sides_N == side]) for side in sides},
    }


def _count(groups_N: npt.NDArray[np.str_]) -> int:
    return len(np.unique(groups_N))

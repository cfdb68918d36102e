"""Cross-validation: which frames are learnt from, tuned on and judged in each fold; groups stay whole.

Contiguous folds follow the order of the groups' names. Where groups are blocks of one long source, as in
WCEBleedGen, neighbours look alike, and a fold of neighbours is as foreign to the rest as the data allow.
"""

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.imaging.prepare import FrameTable, TrainingRefused
from models.imaging.splits import folds, split_groups

Order = Literal["contiguous", "stratified"]


def number_folds(table: FrameTable, order: Order, *, count: int, seed: int) -> NDArray[np.int64]:
    """The fold of each frame, 0 to count - 1; real frames and drawn ones are cut apart, a part to each fold.

    Raises:
        TrainingRefused: `too_few_groups`: every fold needs one, and each training two more.
    """
    fold_N = np.empty(len(table.linked_N), np.int64)
    for rows in _kinds(table):
        part = table.part(rows)
        if len(np.unique(part.linked_N)) < count + 1:
            message = f"{count} folds need {count + 1} groups (patients, videos) or more that share no frame"
            raise TrainingRefused("too_few_groups", message)
        if order == "stratified":
            fold_N[rows] = folds(part.linked_N, part.labels_NK, count=count, seed=seed)
        else:
            fold_N[rows] = _runs(part.linked_N, np.full(count, 1 / count))
    return fold_N


def fold_sides(
    table: FrameTable,
    fold_N: NDArray[np.int64],
    fold: int,
    *,
    order: Order,
    tune_fraction: float,
    seed: int,
) -> NDArray[np.str_]:
    """The side of each frame when `fold` is judged; the tune side is cut from the rest as the folds were.

    Raises:
        TrainingRefused: `too_few_groups`.
    """
    sides_N = np.full(len(fold_N), "train", "U5")
    sides_N[fold_N == fold] = "test"
    for rows in _kinds(table):
        rest_M = rows[fold_N[rows] != fold]
        sides_N[rest_M] = _tune_apart(table.part(rest_M), order, tune_fraction=tune_fraction, seed=seed)
    return sides_N


def _kinds(table: FrameTable) -> list[NDArray[np.int64]]:
    """Numbers of the real frames and of the drawn ones, as far as there are any."""
    kinds = [np.flatnonzero(table.synthetic_N == drawn) for drawn in (False, True)]
    return [rows for rows in kinds if len(rows)]


def _tune_apart(rest: FrameTable, order: Order, *, tune_fraction: float, seed: int) -> NDArray[np.str_]:
    left = len(np.unique(rest.linked_N))
    if left < 2:
        raise TrainingRefused("too_few_groups", "a fold leaves fewer than two groups to learn from")
    if order == "stratified":
        fractions = {"train": 1 - tune_fraction, "tune": tune_fraction}
        return split_groups(rest.linked_N, rest.labels_NK, fractions=fractions, seed=seed)
    # Another run for every seed: which neighbours are tuned on must not decide the figure.
    runs = min(max(2, round(1 / tune_fraction)), left)
    run_M = _runs(rest.linked_N, np.full(runs, 1 / runs))
    return np.where(run_M == seed % runs, "tune", "train")


def _runs(groups_N: NDArray[np.str_], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cut the groups, in the order of their names, into runs of about these shares of the frames."""
    names, group_N, size = np.unique(groups_N, return_inverse=True, return_counts=True)
    order = np.array(sorted(range(len(names)), key=lambda index: natural(str(names[index]))))
    middle = (np.cumsum(size[order]) - size[order] / 2) / size.sum()
    run = np.searchsorted(np.cumsum(shares)[:-1], middle, side="right")
    run = _without_gaps(run, len(shares))
    run_of_group = np.empty(len(names), np.int64)
    run_of_group[order] = run
    return np.asarray(run_of_group[group_N])


def _without_gaps(run_G: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Every run has a group: a large one may not skip a run, and the last groups fill what is still empty."""
    filled = np.empty_like(run_G)
    before = -1
    for place, run in enumerate(run_G):
        needed = count - (len(run_G) - place)
        before = filled[place] = max(min(run, before + 1), before, needed)
    return filled


def natural(name: str) -> list[tuple[int, str]]:
    """Key of an order in which `video-9` comes before `video-10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]

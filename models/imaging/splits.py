"""Splits that keep every group (patient, video, block of frames) on one side, and the audit of any split.

Groups are handed out greedily towards the wanted share of frames, positives and negatives of every label,
in many seeded orders; the best one stays. It is the iterative stratification of Sechidis, Tsoumakas and
Vlahavas (ECML 2011) with groups in the place of samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

DEFAULT_FRACTIONS: Mapping[str, float] = {"train": 0.6, "tune": 0.2, "test": 0.2}

ProblemCode = Literal["group_crosses", "identical_frame_crosses", "label_absent", "no_disjoint_split"]

# Bounds the work: this many groups are placed in all, in at least one and at most 64 orders.
_PLACEMENTS = 40_000
_MAX_ORDERS = 64
# A side without any positive or negative of a label is worse than any imbalance.
_ABSENCE_COST = 1000.0
# Draws the first holder of a rare label to a side that has none; small beside a large group's misplacement.
_FIRST_GAIN = 0.1


class SplitImpossible(ValueError):
    """There are fewer groups than sides."""


@dataclass(frozen=True)
class SplitProblem:
    """What is wrong with a split: how many groups, frames or sides it concerns, and where."""

    code: ProblemCode
    count: int
    label: str | None = None
    sides: tuple[str, ...] = ()


def split_groups(
    groups: NDArray[np.str_],
    labels: NDArray[np.int8],
    *,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    seed: int,
) -> NDArray[np.str_]:
    """Put every group on one side.

    Args:
        groups: str [N], the group of each frame.
        labels: int8 [N, K], 1, 0 or -1 for unknown.
        fractions: wanted share of the frames for each side; positive, adding up to 1.
        seed: equal inputs and seed give equal splits.

    Returns:
        str [N], the side of each frame.

    Raises:
        SplitImpossible: fewer groups than sides.
        ValueError: fractions not positive, or not adding up to 1.
    """
    names = np.array(list(fractions))
    return np.asarray(names[_assign(groups, labels, np.array([*fractions.values()], float), seed)])


def folds(groups: NDArray[np.str_], labels: NDArray[np.int8], *, count: int, seed: int) -> NDArray[np.int64]:
    """Cut the groups into `count` folds of about equal content.

    Args:
        groups: str [N], the group of each frame.
        labels: int8 [N, K], 1, 0 or -1 for unknown.
        count: number of folds, at least 2.
        seed: equal inputs and seed give equal folds.

    Returns:
        int64 [N], the fold of each frame, 0 to count - 1.

    Raises:
        SplitImpossible: fewer groups than folds.
    """
    if count < 2:
        raise ValueError("at least two folds")
    return _assign(groups, labels, np.full(count, 1 / count), seed)


def audit_split(
    sides: NDArray[np.str_],
    groups: NDArray[np.str_],
    labels: NDArray[np.int8],
    *,
    label_names: Sequence[str],
    hashes: NDArray[np.str_] | None = None,
) -> list[SplitProblem]:
    """Say what makes a split leak or leaves it unable to measure; an empty list is a clean one.

    Args:
        sides: str [N], the side of each frame, as given by anybody.
        groups: str [N].
        labels: int8 [N, K], 1, 0 or -1 for unknown.
        label_names: the K names.
        hashes: str [N], SHA-256 of each frame, where identical frames shall be looked for.

    Returns:
        `group_crosses` (groups on several sides), `identical_frame_crosses` (distinct frames found on several
        sides), `label_absent` (sides without a positive) and `no_disjoint_split` (no group-disjoint split can
        have that label on every side; `count` is the number of groups that hold it).
    """
    problems = []
    if crossing := _crossing(groups, sides):
        problems.append(SplitProblem("group_crosses", crossing))
    if hashes is not None and (crossing := _crossing(hashes, sides)):
        problems.append(SplitProblem("identical_frame_crosses", crossing))
    every_side = set(np.unique(sides).tolist())
    for column, label in enumerate(label_names):
        positive = labels[:, column] == 1
        absent = tuple(sorted(every_side - set(sides[positive].tolist())))
        if absent:
            problems.append(SplitProblem("label_absent", len(absent), label, absent))
        holders = len(np.unique(groups[positive]))
        if holders < len(every_side):
            problems.append(SplitProblem("no_disjoint_split", holders, label, tuple(sorted(every_side))))
    return problems


def _crossing(keys: NDArray[np.str_], sides: NDArray[np.str_]) -> int:
    """How many keys stand on more than one side."""
    _, key_number = np.unique(keys, return_inverse=True)
    _, side_number = np.unique(sides, return_inverse=True)
    pairs = np.unique(np.stack([key_number, side_number], axis=1), axis=0)
    return int((np.bincount(pairs[:, 0]) > 1).sum()) if len(pairs) else 0


def _assign(
    groups: NDArray[np.str_], labels: NDArray[np.int8], shares: NDArray[np.float64], seed: int
) -> NDArray[np.int64]:
    if (shares <= 0).any() or not np.isclose(shares.sum(), 1.0):
        raise ValueError("fractions are positive and add up to 1")
    names, group_number = np.unique(groups, return_inverse=True)
    if len(names) < len(shares):
        raise SplitImpossible(f"{len(names)} groups cannot fill {len(shares)} sides")
    content = _content(group_number, labels, len(names))
    rng = np.random.default_rng(seed)
    orders = min(_MAX_ORDERS, max(1, _PLACEMENTS // len(names)))
    tries = [_place(content, shares, rng) for _ in range(orders)]
    best = min(tries, key=lambda side_of_group: _cost(content, side_of_group, shares))
    return np.asarray(best[group_number], dtype=np.int64)


def _content(group_number: NDArray[np.int64], labels: NDArray[np.int8], count: int) -> NDArray[np.float64]:
    """[groups, <= 1 + 2K]: each group's share of all frames and of each label's positives and negatives."""
    columns = [np.ones(len(labels)), *(labels == 1).T.astype(float), *(labels == 0).T.astype(float)]
    totals = [np.bincount(group_number, weights=column, minlength=count) for column in columns]
    content = np.stack(totals, axis=1)
    present = content[:, content.sum(axis=0) > 0]
    return np.asarray(present / present.sum(axis=0))


def _place(
    content: NDArray[np.float64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Groups in a random order, the weighty ones early, each to the side it brings nearest to its share."""
    # Noise on the scale of the weights themselves: every order is possible, sensible ones are likely.
    weight = content.max(axis=1) * rng.uniform(0.25, 1.0, len(content))
    filled = np.zeros((len(shares), content.shape[1]))
    side_of_group = np.zeros(len(content), np.int64)
    to_place = len(content)
    for group in np.argsort(-weight):
        need = shares[:, None] - filled
        # The change of the squared distance to the wanted shares, up to what is equal for all sides.
        change = -(need * content[group] + _FIRST_GAIN * ((filled == 0) & (content[group] > 0))).sum(axis=1)
        empty = ~filled.any(axis=1)
        if to_place <= empty.sum():
            change[~empty] = np.inf
        side = int(np.argmin(change))
        side_of_group[group] = side
        filled[side] += content[group]
        to_place -= 1
    return side_of_group


def _cost(
    content: NDArray[np.float64], side_of_group: NDArray[np.int64], shares: NDArray[np.float64]
) -> float:
    filled = np.zeros((len(shares), content.shape[1]))
    np.add.at(filled, side_of_group, content)
    return float(((filled - shares[:, None]) ** 2).sum() + _ABSENCE_COST * (filled == 0).sum())

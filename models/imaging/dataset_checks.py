"""What makes a whole dataset unfit to train or to measure on, though each of its frames is in order."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.imaging.datasets import UNKNOWN
from models.imaging.label_table import LabelRow, Problems


def check_whole(rows: Sequence[LabelRow], labels: Sequence[str], problems: Problems) -> list[str]:
    """Look at all frames that were taken.

    Args:
        rows: of the frames, each with one value per label.
        labels: their names.
        problems: takes `one_group` and `one_class` (no label has both a positive and a negative frame), and
            with the number of the label, counted from 1, `all_unknown` and `label_in_one_split`.

    Returns:
        A sentence for each of them that names the label.
    """
    if not rows:
        return []
    values_NK = np.array([row.labels for row in rows], np.int8)
    has_positive_K, has_negative_K = (values_NK == 1).any(axis=0), (values_NK == 0).any(axis=0)
    notes = []
    if len({row.group for row in rows}) == 1:
        problems.add("one_group", 0)
        notes.append("all frames are in one group, so there is no split to train and test on")
    if not (has_positive_K & has_negative_K).any():
        problems.add("one_class", 0)
        notes.append("no label has both positive and negative frames, so there is nothing to tell apart")
    for column, label in enumerate(labels):
        if (values_NK[:, column] == UNKNOWN).all():
            problems.add("all_unknown", column + 1)
            notes.append(f"{label} is unknown on every frame")
    return notes + _missing_from_splits(rows, labels, values_NK, problems)


def _missing_from_splits(
    rows: Sequence[LabelRow], labels: Sequence[str], values_NK: NDArray[np.int8], problems: Problems
) -> list[str]:
    split_N = np.array([row.split for row in rows], dtype=np.str_)
    splits = set(np.unique(split_N[split_N != ""]).tolist())
    if len(splits) < 2:
        return []
    notes = []
    for column, label in enumerate(labels):
        holding = splits & set(split_N[values_NK[:, column] == 1].tolist())
        if len(holding) < 2 and (values_NK[:, column] == 1).any():
            problems.add("label_in_one_split", column + 1)
            notes.append(f"{label} is positive in {len(holding)} of the dataset's {len(splits)} own splits")
    return notes

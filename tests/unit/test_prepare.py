"""Sides by group or as the dataset's maker chose them, and what can be learnt there."""

import numpy as np
import pytest

from models.imaging.prepare import FrameTable, TrainingRefused, divide, split_table

FRACTIONS = {"train": 0.6, "tune": 0.2, "test": 0.2}


def table(own, groups=None, labels=None):
    count = len(own)
    groups = np.array([f"g{number}" for number in range(count)] if groups is None else groups, np.str_)
    labels = np.arange(count)[:, None] % 2 if labels is None else np.array(labels)[:, None]
    hashes = np.array([str(number) for number in range(count)])
    own = np.array(own, np.str_)
    return FrameTable(("polyp",), labels.astype(np.int8), groups, groups, hashes, own, np.zeros(count, bool))


def test_the_makers_sides_are_taken_as_they_are():
    own = ["training", "train", "Validation", "val", "test", "TEST"]
    sides = split_table(table(own), "own", fractions=FRACTIONS, seed=0)
    assert sides.tolist() == ["train", "train", "tune", "tune", "test", "test"]


def test_what_the_maker_left_out_is_cut_from_his_training_groups():
    groups = [f"g{number // 4}" for number in range(40)]
    own = ["train"] * 32 + ["test"] * 8
    sides = split_table(table(own, groups), "own", fractions=FRACTIONS, seed=0)
    assert (sides[32:] == "test").all()
    assert set(sides[:32]) == {"train", "tune"}
    assert all(len(set(sides[start : start + 4])) == 1 for start in range(0, 32, 4))


@pytest.mark.parametrize("own", [["", "", ""], ["train", "test", ""], ["fold-0", "fold-1", "fold-0"]])
def test_sides_that_nobody_chose_are_refused(own):
    with pytest.raises(TrainingRefused) as refused:
        split_table(table(own), "own", fractions=FRACTIONS, seed=0)
    assert refused.value.code == "no_own_split"


def test_a_group_on_both_of_the_makers_sides_is_told():
    chosen = table(["train", "train", "val", "val", "test", "test"], groups=["a", "b", "c", "d", "a", "e"])
    sides = split_table(chosen, "own", fractions=FRACTIONS, seed=0)
    problems = divide(chosen, sides, seed=0).notes["split_problems"]
    assert ("group_crosses", 1) in {(problem["code"], problem["count"]) for problem in problems}


def test_labels_of_one_class_are_not_learnt():
    chosen = table(["train"] * 2 + ["val"] * 2 + ["test"] * 2, labels=[1, 1, 0, 1, 0, 1])
    sides = split_table(chosen, "own", fractions=FRACTIONS, seed=0)
    with pytest.raises(TrainingRefused) as refused:
        divide(chosen, sides, seed=0)
    assert refused.value.code == "no_learnable_label"

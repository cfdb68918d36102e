"""Folds keep groups whole, fill every side, and contiguous ones are runs of neighbours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.imaging.folds import fold_sides, natural, number_folds
from models.imaging.prepare import FrameTable, TrainingRefused


def table_of(groups, labels=None):
    groups = np.array(groups, np.str_)
    count = len(groups)
    labels = np.arange(count)[:, None] % 2 if labels is None else labels
    nothing = np.full(count, "")
    return FrameTable(
        ("polyp",), labels.astype(np.int8), groups, groups, nothing, nothing, np.zeros(count, bool)
    )


@given(
    st.lists(st.integers(1, 30), min_size=6, max_size=25),
    st.integers(3, 5),
    st.integers(0, 9),
    st.sampled_from(["contiguous", "stratified"]),
    st.sampled_from([0.1, 0.2, 0.4]),
)
def test_every_fold_has_three_sides_that_share_no_group(sizes, count, seed, order, tune_fraction):
    groups = [f"block-{number}" for number, size in enumerate(sizes) for _ in range(size)]
    table = table_of(groups)
    fold_N = number_folds(table, order, count=count, seed=seed)
    assert set(fold_N) == set(range(count))
    for fold in range(count):
        sides = fold_sides(table, fold_N, fold, order=order, tune_fraction=tune_fraction, seed=seed)
        assert set(sides) == {"train", "tune", "test"}
        assert (sides == "test").tolist() == (fold_N == fold).tolist()
        by_group = {}
        for group, side in zip(groups, sides, strict=True):
            assert by_group.setdefault(group, side) == side


@given(st.lists(st.integers(1, 30), min_size=6, max_size=25), st.integers(2, 5))
def test_contiguous_folds_are_runs_in_the_order_of_the_names(sizes, count):
    groups = [f"block-{number}" for number, size in enumerate(sizes) for _ in range(size)]
    shuffled = np.random.default_rng(0).permutation(groups)
    fold_N = number_folds(table_of(shuffled), "contiguous", count=count, seed=0)
    ordered = [int(fold_N[list(shuffled).index(f"block-{number}")]) for number in range(len(sizes))]
    assert ordered == sorted(ordered)


def test_equal_groups_make_equal_folds():
    groups = [f"block-{number}" for number in range(10) for _ in range(7)]
    assert np.bincount(number_folds(table_of(groups), "contiguous", count=5, seed=0)).tolist() == [14] * 5


def test_seeds_tune_on_different_neighbours():
    groups = [f"block-{number}" for number in range(20) for _ in range(5)]
    table = table_of(groups)
    fold_N = number_folds(table, "contiguous", count=5, seed=0)
    tuned = [
        tuple(fold_sides(table, fold_N, 0, order="contiguous", tune_fraction=0.2, seed=seed) == "tune")
        for seed in range(5)
    ]
    assert len(set(tuned)) == 5
    assert np.array(tuned).sum(axis=0).max() == 1


def test_a_fold_that_leaves_one_group_is_refused():
    table = table_of(["a"] * 5 + ["b", "c"])
    fold_N = number_folds(table, "contiguous", count=2, seed=0)
    with pytest.raises(TrainingRefused):
        fold_sides(table, fold_N, 1, order="contiguous", tune_fraction=0.2, seed=0)


@pytest.mark.parametrize("order", ["contiguous", "stratified"])
def test_too_few_groups_are_refused(order):
    with pytest.raises(TrainingRefused) as refused:
        number_folds(table_of(["a", "b", "c"]), order, count=3, seed=0)
    assert refused.value.code == "too_few_groups"


def test_numbers_in_names_count_as_numbers():
    names = ["video-10", "a", "10/x", "video-9", "9/x"]
    assert sorted(names, key=natural) == ["9/x", "10/x", "a", "video-9", "video-10"]

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.imaging.splits import (
    DEFAULT_FRACTIONS,
    SplitImpossible,
    SplitProblem,
    audit_split,
    folds,
    split_groups,
)

DATA = Path(os.environ.get("ENTERON_TEST_DATA", "../shared/data"))


@st.composite
def framesets(draw: st.DrawFn) -> tuple[NDArray[np.str_], NDArray[np.int8]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    frames, groups = draw(st.integers(1, 80)), draw(st.integers(1, 12))
    names = np.array([f"g{n}" for n in rng.integers(0, groups, frames)])
    return names, rng.integers(-1, 2, (frames, draw(st.integers(0, 3)))).astype(np.int8)


@settings(deadline=None)
@given(framesets(), st.integers(0, 5))
def test_every_group_is_on_one_side_and_no_side_is_empty(
    frames: tuple[NDArray[np.str_], NDArray[np.int8]], seed: int
) -> None:
    groups, labels = frames
    if len(set(groups)) < 3:
        with pytest.raises(SplitImpossible):
            split_groups(groups, labels, seed=seed)
        return
    sides = split_groups(groups, labels, seed=seed)
    assert all(len(set(sides[groups == group])) == 1 for group in set(groups))
    assert set(sides) == set(DEFAULT_FRACTIONS)
    assert np.array_equal(sides, split_groups(groups, labels, seed=seed))


def test_seeds_differ() -> None:
    groups = np.array([f"g{n}" for n in range(60)])
    labels = np.zeros((60, 1), np.int8)
    assert not np.array_equal(split_groups(groups, labels, seed=1), split_groups(groups, labels, seed=2))


def test_shares_are_near_the_wanted_ones_for_rare_labels_too() -> None:
    rng = np.random.default_rng(0)
    groups = np.array([f"g{n}" for n in np.repeat(np.arange(100), 10)])
    # The rare label lives in ten groups only.
    labels = np.stack([rng.integers(0, 2, 1000), (np.arange(1000) // 10 < 10).astype(int)], axis=1).astype(
        np.int8
    )
    sides = split_groups(groups, labels, seed=3)
    for side, fraction in DEFAULT_FRACTIONS.items():
        assert (sides == side).mean() == pytest.approx(fraction, abs=0.03)
        rare = labels[:, 1] == 1
        assert (sides[rare] == side).mean() == pytest.approx(fraction, abs=0.11)


def test_a_label_of_three_groups_reaches_all_three_sides() -> None:
    groups = np.array([f"g{n:02}" for n in np.repeat(np.arange(30), 5)])
    labels = np.isin(groups, ["g03", "g17", "g29"]).astype(np.int8)[:, None]
    for seed in range(5):
        sides = split_groups(groups, labels, seed=seed)
        assert audit_split(sides, groups, labels, label_names=["polyp"]) == []


@pytest.mark.parametrize(
    "fractions", [{"train": 0.5, "test": 0.6}, {"train": 1.0, "test": 0.0}, {"train": -1.0, "test": 2.0}]
)
def test_fractions_are_checked(fractions: dict[str, float]) -> None:
    groups = np.array(["a", "b", "c"])
    with pytest.raises(ValueError, match="fractions"):
        split_groups(groups, np.zeros((3, 1), np.int8), fractions=fractions, seed=0)


def test_folds_partition_the_groups() -> None:
    groups = np.array([f"g{n}" for n in np.repeat(np.arange(20), 4)])
    labels = (np.arange(80) % 2).astype(np.int8)[:, None]
    fold = folds(groups, labels, count=5, seed=0)
    assert np.array_equal(np.bincount(fold), [16] * 5)
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups))


@given(framesets(), st.integers(0, 2**32))
def test_audit_counts_crossings_as_the_obvious_loop_does(
    frames: tuple[NDArray[np.str_], NDArray[np.int8]], seed: int
) -> None:
    groups, labels = frames
    rng = np.random.default_rng(seed)
    sides = rng.choice(["train", "test"], len(groups))
    hashes = rng.choice([f"h{n}" for n in range(40)], len(groups))
    found = {
        (p.code, p.label): p.count
        for p in audit_split(sides, groups, labels, label_names=[*"abc"][: labels.shape[1]], hashes=hashes)
    }

    def crossing(keys: NDArray[np.str_]) -> int:
        return sum(len(set(sides[keys == key])) > 1 for key in set(keys))

    expected = {
        ("group_crosses", None): crossing(groups),
        ("identical_frame_crosses", None): crossing(hashes),
    }
    for column in range(labels.shape[1]):
        positive = labels[:, column] == 1
        expected["label_absent", "abc"[column]] = len(set(sides)) - len(set(sides[positive]))
        holders = len(set(groups[positive]))
        expected["no_disjoint_split", "abc"[column]] = holders if holders < len(set(sides)) else -1
    always = {key for key in expected if key[0] == "no_disjoint_split" and expected[key] >= 0}
    assert found == {key: count for key, count in expected.items() if count > 0 or key in always}


def test_kvasir_polyps_have_no_disjoint_split() -> None:
    folder = DATA / "kvasir-capsule-labels"
    if not folder.exists():
        pytest.skip("the Kvasir-Capsule labels are not here")
    with (folder / "metadata.csv").open() as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))
    groups = np.array([row["video_id"] for row in rows])
    names = sorted({row["finding_class"] for row in rows})
    labels = np.array([[row["finding_class"] == name for name in names] for row in rows]).astype(np.int8)
    sides = split_groups(groups, labels, fractions={"train": 0.5, "test": 0.5}, seed=0)
    problems = audit_split(sides, groups, labels, label_names=names)
    impossible = {problem.label for problem in problems if problem.code == "no_disjoint_split"}
    assert impossible == {"Polyp", "Ampulla of Vater", "Blood - hematin"}
    assert SplitProblem("no_disjoint_split", 1, "Polyp", ("test", "train")) in problems
    # Every other label is on both sides: the search found the best there is.
    assert {problem.label for problem in problems if problem.code == "label_absent"} == impossible


def test_kvasir_official_folds_cross() -> None:
    folder = DATA / "kvasir-capsule-labels" / "official_splits"
    if not folder.exists():
        pytest.skip("the Kvasir-Capsule labels are not here")
    videos: list[str] = []
    sides: list[str] = []
    for path in sorted(folder.glob("split_*.csv")):
        with path.open() as lines:
            for row in csv.DictReader(lines):
                videos.append(row["filename"].split("_")[0])
                sides.append(path.stem)
    problems = audit_split(
        np.array(sides), np.array(videos), np.zeros((len(sides), 0), np.int8), label_names=[]
    )
    assert problems == [SplitProblem("group_crosses", 7)]

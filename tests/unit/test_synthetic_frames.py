"""Drawn frames: determinism, ground truth, domains."""

from dataclasses import fields

import numpy as np
import pytest

from models.synthetic import ranges
from models.synthetic.frames import LABELS, SyntheticFrame, draw_frame, draw_frames
from models.synthetic.mucosa import Appearance
from models.synthetic.ranges import Dice, Range

SIZE = 96


def _frames(n: int, **options) -> list[SyntheticFrame]:
    return list(draw_frames(n, **{"seed": 1, "domain": "train", "size": SIZE, **options}))


def _same(one: SyntheticFrame, other: SyntheticFrame) -> bool:
    return (
        np.array_equal(one.rgb, other.rgb)
        and one.masks.keys() == other.masks.keys()
        and all(np.array_equal(one.masks[label], other.masks[label]) for label in one.masks)
        and (one.labels, one.group) == (other.labels, other.group)
    )


@pytest.fixture(scope="module")
def test_frames() -> list[SyntheticFrame]:
    return _frames(84, domain="test")


def test_the_same_seed_draws_the_same_bits() -> None:
    assert all(_same(one, other) for one, other in zip(_frames(21), _frames(21), strict=True))


def test_a_short_data_set_is_the_start_of_a_longer_one() -> None:
    assert all(_same(one, other) for one, other in zip(_frames(5), _frames(12), strict=False))


@pytest.mark.parametrize("change", [{"seed": 2}, {"domain": "test"}])
def test_another_seed_or_domain_draws_other_frames_of_other_patients(change: dict) -> None:
    one, other = _frames(10), _frames(10, **change)
    assert {frame.group for frame in one}.isdisjoint(frame.group for frame in other)
    assert not any(np.array_equal(a.rgb, b.rgb) for a, b in zip(one, other, strict=True))


def test_another_frame_seed_changes_the_picture_and_keeps_the_patient() -> None:
    one, other = (
        draw_frame(seed, domain="train", labels=frozenset(), patient=4, size=SIZE) for seed in (0, 1)
    )
    assert one.group == other.group
    assert not np.array_equal(one.rgb, other.rgb)


def test_frames_per_patient_share_a_group() -> None:
    assert [frame.group[-7:] for frame in _frames(6, frames_per_patient=3)] == ["1000000"] * 3 + [
        "1000001"
    ] * 3


@pytest.mark.parametrize(
    "labels", [frozenset(), *(frozenset({label}) for label in LABELS), frozenset(LABELS)]
)
def test_labels_and_masks_agree_with_what_was_asked(labels: frozenset[str]) -> None:
    frame = draw_frame(3, domain="test", labels=labels, patient=0, size=SIZE)
    assert frame.rgb.shape == (SIZE, SIZE, 3)
    assert frame.rgb.dtype == np.uint8
    assert frame.labels == {label: int(label in labels) for label in LABELS}
    assert set(frame.masks) == labels
    assert all(mask.dtype == np.bool_ and mask.shape == (SIZE, SIZE) for mask in frame.masks.values())


def test_the_seed_chooses_the_labels_when_none_are_given() -> None:
    drawn = [draw_frame(seed, domain="train", labels=None, patient=0, size=48) for seed in range(30)]
    assert len({tuple(frame.labels.values()) for frame in drawn}) > 4


def test_every_label_occurs_alone_in_pairs_and_not_at_all(test_frames: list[SyntheticFrame]) -> None:
    combinations = [frozenset(frame.masks) for frame in test_frames]
    assert combinations.count(frozenset()) == 20
    for label in LABELS:
        assert frozenset({label}) in combinations
        assert any(label in shown and len(shown) == 2 for shown in combinations)


def test_masks_are_not_empty_and_lie_inside_the_round_field(test_frames: list[SyntheticFrame]) -> None:
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    largest_field = np.hypot(axis[:, None], axis) < ranges.FIELD_RADIUS.test[1]
    for frame in test_frames:
        for mask in frame.masks.values():
            assert mask.any()
            assert not (mask & ~largest_field).any()


@pytest.mark.parametrize("label", ["polyp", "bleeding", "inflammatory"])
@pytest.mark.parametrize("domain", ["train", "test"])
def test_the_median_lesion_covers_at_most_eight_percent_of_the_field(label: str, domain: str) -> None:
    # The smallest field of the domain makes the share largest.
    smallest = (ranges.FIELD_RADIUS.train if domain == "train" else ranges.FIELD_RADIUS.test)[0]
    field_pixels = np.pi * (smallest * SIZE / 2) ** 2
    frames = [
        draw_frame(seed, domain=domain, labels=frozenset({label}), patient=seed, size=SIZE)
        for seed in range(60)
    ]
    shares = [frame.masks[label].sum() / field_pixels for frame in frames]
    assert 0.02 < np.median(shares) <= 0.08


def test_outside_the_field_is_black() -> None:
    for frame in _frames(6):
        assert frame.rgb[:6, :6].max() < 12


def test_a_lesion_changes_the_picture_where_its_mask_is() -> None:
    plain = draw_frame(5, domain="train", labels=frozenset(), patient=9)
    for label in LABELS:
        frame = draw_frame(5, domain="train", labels=frozenset({label}), patient=9)
        inside = frame.masks[label]
        difference = np.abs(frame.rgb.astype(int) - plain.rgb).mean(axis=2)
        assert difference[inside].mean() > 10 * difference[~inside].mean()


def test_every_parameter_range_is_shifted_between_the_domains() -> None:
    table = {name: span for name, span in vars(ranges).items() if isinstance(span, Range)}
    assert len(table) > 20
    for span in table.values():
        assert span.train[0] < span.train[1]
        assert span.test[0] < span.test[1]
        assert abs(np.mean(span.train) - np.mean(span.test)) >= 0.05 * (span.train[1] - span.train[0])
    hue = ranges.MUCOSA_HUE_DEG
    assert np.mean(hue.test) <= hue.train[0]


def test_patients_of_one_domain_stay_in_its_ranges() -> None:
    looks = [Appearance.of_patient(Dice(np.random.default_rng(seed), "test")) for seed in range(50)]
    low, high = ranges.MUCOSA_HUE_DEG.test
    assert all(low <= look.hue_deg <= high for look in looks)
    assert {field.name for field in fields(Appearance)} >= {"villi_cells", "vessel_cells", "field_radius"}


@pytest.mark.parametrize(
    ("labels", "size"), [(frozenset({"tumour"}), SIZE), (frozenset(), 16)], ids=["unknown label", "tiny"]
)
def test_nonsense_is_refused(labels: frozenset[str], size: int) -> None:
    with pytest.raises(ValueError, match=r"unknown labels|at least 32"):
        draw_frame(0, domain="train", labels=labels, patient=0, size=size)

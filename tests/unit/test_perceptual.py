"""Frames that look alike are near, others are not."""

import numpy as np
import pytest
from PIL import Image

from models.imaging.perceptual import HASH_BITS, difference_hash, distances
from models.synthetic.frames import draw_frames


@pytest.fixture(scope="module")
def frames():
    return [frame.rgb for frame in draw_frames(6, seed=3, domain="train", size=128)]


def slow_hash(rgb):
    """Bit by bit, from the definition."""
    grey = np.asarray(Image.fromarray(rgb).convert("L").resize((9, 8), Image.Resampling.BOX)).astype(int)
    bits = "".join(str(int(grey[y, x + 1] > grey[y, x])) for y in range(8) for x in range(8))
    value = int(bits, 2)
    return value - 2**64 if value >= 2**63 else value


def test_hash_is_that_of_the_definition(frames):
    assert [difference_hash(frame) for frame in frames] == [slow_hash(frame) for frame in frames]


def test_distance_counts_differing_bits():
    one, other = np.array([0, -1, 5]), np.array([0, 1, -1])
    assert distances(one, other).tolist() == [[0, 1, 64], [64, 63, 0], [2, 1, 62]]


def test_brighter_and_smaller_copies_are_near_and_other_frames_are_not(frames):
    hashes = np.array([difference_hash(frame) for frame in frames])
    for frame, own in zip(frames, hashes, strict=True):
        brighter = np.clip(frame * 1.15, 0, 255).astype(np.uint8)
        smaller = np.asarray(Image.fromarray(frame).resize((96, 96)))
        copies = np.array([difference_hash(brighter), difference_hash(smaller)])
        assert distances(np.array([own]), copies).max() <= 6
    apart = distances(hashes, hashes)[~np.eye(len(frames), dtype=bool)]
    assert apart.min() > 6
    assert apart.max() <= HASH_BITS


def test_one_colour_gives_zero():
    assert difference_hash(np.full((20, 30, 3), 90, np.uint8)) == 0

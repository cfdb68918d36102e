"""Pointing game and overlap against a loop over pixels."""

import numpy as np
import pytest

from models.imaging import cam
from models.imaging.datasets import Box
from models.imaging.localisation import measure_maps
from models.imaging.predictor import Predictions

SIZE = 32


class Boxed:
    """Square frames of 64 px with one box each, but the last, which has none."""

    BOXES = ((0, 0, 32, 32), (32, 32, 32, 32), (0, 0, 64, 16))

    def masks(self, ordinal):
        return ()

    def boxes(self, ordinal):
        return (Box("polyp", *self.BOXES[ordinal]),) if ordinal < len(self.BOXES) else ()

    def sizes_px(self):
        return np.full((4, 2), 64)


def predictions(maps):
    maps = np.asarray(maps, np.float32)
    nothing = np.zeros((len(maps), 1), np.float32)
    return Predictions(
        ("polyp",), nothing, nothing, nothing > 0, maps[:, None], nothing, "balanced", "torch", "float32"
    )


def peaked(row, column):
    grid = np.full((4, 4), -1.0)
    grid[row, column] = 3.0
    return grid


def measured(maps, groups=("a", "b", "a", "b"), labels=(1, 1, 1, 1)):
    labels = np.array(labels, np.int8)[:, None]
    return measure_maps(predictions(maps), labels, np.array(groups), Boxed(), np.arange(4), size_px=SIZE)[
        "polyp"
    ]


def test_rates_and_overlap_are_those_of_the_pixels():
    maps = [peaked(0, 1), peaked(0, 0), peaked(0, 3), peaked(0, 0)]
    found = measured(maps)
    assert found["pointing"]["hits"] == 2
    assert found["pointing"]["n"] == 3  # nobody has drawn the fourth
    assert found["pointing"]["rate"] == pytest.approx(2 / 3)
    assert found["pointing"]["lesion_share"] == pytest.approx(0.25)
    overlaps = []
    for (x, y, w, h), grid in zip(Boxed.BOXES, maps, strict=False):
        full = cam.upsample(grid.astype(np.float32), SIZE)
        inside = union = 0
        for row in range(SIZE):
            for column in range(SIZE):
                lesion = x <= 2 * column < x + w and y <= 2 * row < y + h
                region = full[row, column] >= 1.5
                inside += lesion and region
                union += lesion or region
        overlaps.append(inside / union)
    assert found["overlap"]["value"] == pytest.approx(np.mean(overlaps))
    assert found["overlap"]["low"] < found["overlap"]["value"] < found["overlap"]["high"]


def test_a_map_that_speaks_for_nothing_overlaps_nothing():
    assert measured([np.full((4, 4), -2.0)] * 4)["overlap"]["value"] == 0


def test_frames_without_the_lesion_do_not_count():
    found = measured([peaked(0, 0)] * 4, labels=(1, 0, -1, 1))
    assert (found["pointing"]["hits"], found["pointing"]["n"]) == (1, 1)
    assert found["pointing"]["low"] is None  # one group says nothing of the spread


def test_without_a_drawn_lesion_nothing_is_measured():
    assert measured([peaked(0, 0)] * 4, labels=(0, 0, 0, 1)) is None

"""Heat maps: one value means one thing everywhere, and nothing shows below the threshold."""

import io
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.api import overlays
from service.domain.heatmaps import cell_probabilities

LOGITS = st.floats(-20, 20, width=16)


def packed(cells: list[float]) -> bytes:
    return struct.pack(f"<{len(cells)}e", *cells)


def drawn(grid: list[list[float]], *, width: int, height: int, threshold: float) -> Image.Image:
    data = overlays.draw(grid, width_px=width, height_px=height, threshold=threshold)
    return Image.open(io.BytesIO(data)).convert("RGBA")


@given(
    cells=st.lists(LOGITS, min_size=9, max_size=9),
    score=LOGITS,
    slope=st.floats(0.1, 3),
    shift=st.floats(-3, 3),
)
def test_a_cell_is_the_probability_of_a_frame_of_such_cells(cells, score, slope, shift):
    calibration = {"slope": slope, "intercept": shift}
    grid = cell_probabilities(packed(cells), 3, score=score, calibration=calibration)
    bias = score - sum(cells) / 9
    for index, cell in enumerate(cells):
        expected = 1 / (1 + math.exp(-(slope * (cell + bias) + shift)))
        assert grid[index // 3][index % 3] == pytest.approx(expected, abs=1e-9)


def test_an_even_map_says_what_the_frame_says():
    grid = cell_probabilities(packed([5.0] * 49), 7, score=-1.0, calibration={})
    assert all(value == pytest.approx(1 / (1 + math.e)) for row in grid for value in row)


def test_far_logits_do_not_overflow():
    grid = cell_probabilities(packed([60000.0, -60000.0, 0.0, 0.0]), 2, score=0.0, calibration={})
    assert (grid[0][0], grid[0][1]) == (1.0, 0.0)


@given(value=st.floats(0, 1), threshold=st.floats(0, 1))
def test_nothing_below_the_threshold_is_drawn(value, threshold):
    picture = drawn([[value] * 7] * 7, width=16, height=16, threshold=threshold)
    shown = picture.getchannel("A").getextrema() != (0, 0)
    if value < threshold:
        assert not shown
    if value >= threshold + 1 / 255 and value > 0.01:
        assert shown


def test_the_colour_of_a_value_is_the_same_beside_any_other():
    alone = drawn([[0.7] * 7] * 7, width=70, height=70, threshold=0.5)
    beside = drawn([[0.7] * 6 + [1.0]] * 7, width=70, height=70, threshold=0.5)
    assert alone.getpixel((5, 35)) == beside.getpixel((5, 35))


def test_opacity_rises_with_the_value():
    opacities = [
        drawn([[value] * 7] * 7, width=8, height=8, threshold=0.1).getpixel((4, 4))[3]
        for value in (0.2, 0.5, 0.9)
    ]
    assert opacities == sorted(set(opacities))


@pytest.mark.parametrize(("width", "height"), [(336, 336), (336, 252), (252, 336), (1, 50), (1000, 3)])
def test_the_picture_has_the_size_of_the_frame_and_its_place_in_the_square(width, height):
    grid = [[0.0] * 7 for _ in range(7)]
    grid[3] = [1.0] * 7  # the middle row of the square is the middle of the frame, whatever its shape
    picture = drawn(grid, width=width, height=height, threshold=0.5)
    assert picture.size == (width, height)
    assert picture.getpixel((width // 2, height // 2))[3] > 0


def test_values_between_cells_are_blended():
    grid = [[0.0] * 7 for _ in range(7)]
    grid[3][3] = 1.0
    row = [drawn(grid, width=70, height=70, threshold=0.01).getpixel((x, 35))[3] for x in range(35, 46)]
    assert row == sorted(row, reverse=True)
    assert len(set(row)) > 5

"""Heat maps: one colour means one density everywhere, and nothing shows below the floor."""

import io
import math
import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from service.api import overlays
from service.domain.heatmaps import FULL_SCALE, HeatMap, heat_map

PLAIN = {"slope": 1.0, "intercept": 0.0}
LOGITS = st.floats(-20, 20, width=16)


def packed(cells: list[float]) -> bytes:
    return struct.pack(f"<{len(cells)}e", *cells)


def drawn(grid: list[list[float]], *, width: int, height: int, floor: float = 0.0) -> Image.Image:
    data = overlays.draw(HeatMap(grid, floor), width_px=width, height_px=height)
    return Image.open(io.BytesIO(data)).convert("RGBA")


@given(
    cells=st.lists(LOGITS, min_size=9, max_size=9),
    score=LOGITS,
    slope=st.floats(0.1, 3),
    shift=st.floats(-3, 3),
    threshold=st.floats(0.01, 0.99),
)
def test_a_cell_is_drawn_where_a_frame_of_such_cells_reaches_the_threshold(
    cells, score, slope, shift, threshold
):
    heat = heat_map(packed(cells), 3, score=score, threshold=threshold, slope=slope, intercept=shift)
    bias = score - sum(cells) / 9
    for index, cell in enumerate(cells):
        density = heat.densities[index // 3][index % 3]
        probability = 1 / (1 + math.exp(-(slope * (cell + bias) + shift)))
        assume(abs(probability - threshold) > 1e-9)
        if density > 0:
            assert (density >= heat.floor) == (probability > threshold)
    assert heat.floor >= 0


@given(cells=st.lists(LOGITS, min_size=9, max_size=9), score=LOGITS, slope=st.floats(0.1, 3))
def test_densities_times_area_sum_to_the_calibrated_logit_without_the_bias(cells, score, slope):
    heat = heat_map(packed(cells), 3, score=score, threshold=0.5, slope=slope, intercept=0.0)
    bias = score - sum(cells) / 9
    summed = sum(density * 100 / 9 for row in heat.densities for density in row)
    assert summed == pytest.approx(slope * (score - bias), abs=1e-9)


@given(
    cells=st.lists(LOGITS, min_size=9, max_size=9),
    score=LOGITS,
    slope=st.floats(0.1, 3),
    shift=st.floats(-3, 3),
    threshold=st.floats(0.01, 0.99),
)
def test_under_log_sum_exp_a_cell_is_a_frame_of_its_own(cells, score, slope, shift, threshold):
    heat = heat_map(
        packed(cells),
        3,
        score=score,
        threshold=threshold,
        slope=slope,
        intercept=shift,
        pooling="log-sum-exp",
    )
    bias = score - math.log(sum(math.exp(cell) for cell in cells) / 9)
    for index, cell in enumerate(cells):
        chance = 1 / (1 + math.exp(-(slope * (cell + bias) + shift)))
        assert heat.densities[index // 3][index % 3] == pytest.approx(chance * FULL_SCALE, abs=1e-9)
    assert heat.floor == pytest.approx(threshold * FULL_SCALE)
    # A positive finding always has a cell to show: the largest is never below the pooled one.
    whole = FULL_SCALE / (1 + math.exp(-(slope * score + shift)))
    assert max(max(row) for row in heat.densities) >= whole - 1e-9


@pytest.mark.parametrize("times", [2, 3])
def test_a_finer_grid_of_the_same_map_has_the_same_densities(times):
    coarse, fine = [3.0, -1.0, 40.0, 0.5], []
    for row in (coarse[:2], coarse[2:]):
        fine += [cell for cell in row for _ in range(times)] * times
    one = heat_map(packed(coarse), 2, score=1.0, threshold=0.4, **PLAIN)
    other = heat_map(packed(fine), 2 * times, score=1.0, threshold=0.4, **PLAIN)
    assert other.densities[0][0] == one.densities[0][0] == pytest.approx(0.03)
    assert other.floor == pytest.approx(one.floor)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_outermost_thresholds_have_a_finite_floor(threshold):
    heat = heat_map(packed([60000.0, -60000.0, 0.0, 0.0]), 2, score=0.0, threshold=threshold, **PLAIN)
    assert math.isfinite(heat.floor)
    assert heat.densities[0] == [600.0, -600.0]


@given(density=st.floats(-1, 1), floor=st.floats(0, 1))
def test_nothing_below_the_floor_is_drawn(density, floor):
    picture = drawn([[density] * 7] * 7, width=16, height=16, floor=floor)
    shown = picture.getchannel("A").getextrema() != (0, 0)
    if density < floor or density <= 0:
        assert not shown
    if min(density, FULL_SCALE) >= floor + FULL_SCALE / 255 and density > 0.01:
        assert shown


def test_all_above_the_full_scale_is_as_hot_and_the_tissue_still_shows():
    hottest, hotter = (
        drawn([[density] * 7] * 7, width=8, height=8).getpixel((4, 4)) for density in (FULL_SCALE, 60.0)
    )
    assert hottest == hotter
    assert hottest[3] <= 0.65 * 255


def test_a_small_lesion_does_not_colour_the_frame():
    cells = [-2.0] * 100
    cells[44] = 40.0
    heat = heat_map(packed(cells), 10, score=1.0, threshold=0.5, **PLAIN)
    alpha = drawn(heat.densities, width=100, height=100, floor=heat.floor).getchannel("A")
    assert alpha.getpixel((45, 45)) > 90
    assert sum(alpha.histogram()[13:]) < 0.04 * 100 * 100  # more than 5 % opaque: about the cell and its rim


def test_the_colour_of_a_density_is_the_same_beside_any_other():
    alone = drawn([[0.3] * 7] * 7, width=70, height=70, floor=0.2)
    beside = drawn([[0.3] * 6 + [0.5]] * 7, width=70, height=70, floor=0.2)
    assert alone.getpixel((5, 35)) == beside.getpixel((5, 35))


def test_opacity_rises_with_the_density():
    opacities = [
        drawn([[density] * 7] * 7, width=8, height=8, floor=0.05).getpixel((4, 4))[3]
        for density in (0.1, 0.25, 0.45)
    ]
    assert opacities == sorted(set(opacities))


@pytest.mark.parametrize(("width", "height"), [(336, 336), (336, 252), (252, 336), (1, 50), (1000, 3)])
def test_the_picture_has_the_size_of_the_frame_and_its_place_in_the_square(width, height):
    grid = [[0.0] * 7 for _ in range(7)]
    grid[3] = [0.5] * 7  # the middle row of the square is the middle of the frame, whatever its shape
    picture = drawn(grid, width=width, height=height, floor=0.25)
    assert picture.size == (width, height)
    assert picture.getpixel((width // 2, height // 2))[3] > 0


def test_values_between_cells_are_blended():
    grid = [[0.0] * 7 for _ in range(7)]
    grid[3][3] = 0.5
    row = [drawn(grid, width=70, height=70, floor=0.005).getpixel((x, 35))[3] for x in range(35, 46)]
    assert row == sorted(row, reverse=True)
    assert len(set(row)) > 5

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.imaging.cam import box, peak, upsample

maps = st.builds(
    lambda seed, h, w: np.random.default_rng(seed).normal(size=(h, w)).astype(np.float32),
    st.integers(0, 10_000),
    st.integers(1, 10),
    st.integers(1, 10),
)


@given(maps, st.integers(1, 64))
def test_upsampling_is_torchs_bilinear(cam, size):
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(cam)[None, None], size=(size, size), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(upsample(cam, size), expected[0, 0].numpy(), atol=1e-5)


def test_a_lone_cell_peaks_at_its_centre():
    cam = np.zeros((7, 7), np.float32)
    cam[1, 5] = 2
    assert peak(cam, 224) == (5.5 * 32, 1.5 * 32)


@given(st.floats(1.01, 5.99), st.floats(1.01, 5.99))
def test_the_summit_of_a_smooth_hill_is_found_between_cells(x, y):
    centres = np.arange(7) + 0.5
    hill = 5 - (centres[None, :] - x) ** 2 - (centres[:, None] - y) ** 2
    assert peak(hill.astype(np.float32), 7) == pytest.approx((x, y), abs=0.01)


@given(maps)
def test_the_peak_lies_in_the_highest_cell(cam):
    x, y = peak(cam, 1)
    row, column = np.unravel_index(np.argmax(cam), cam.shape)
    assert abs(y * cam.shape[0] - (row + 0.5)) <= 0.5 + 1e-6
    assert abs(x * cam.shape[1] - (column + 0.5)) <= 0.5 + 1e-6


def test_the_box_holds_the_region_of_the_peak_alone():
    cam = np.full((7, 7), -1.0, np.float32)
    cam[1:3, 4:6] = 3
    cam[5, 0] = 2
    x, y, width, height = box(cam, 224)
    assert (x, y) > (100, 20)
    assert x <= 4.5 * 32 < 5.5 * 32 <= x + width
    assert y <= 1.5 * 32 < 2.5 * 32 <= y + height
    assert y + height < 5 * 32


def test_a_lower_fraction_gives_a_larger_box():
    cam = np.zeros((7, 7), np.float32)
    cam[3, 3] = 1
    assert box(cam, 224, fraction=0.2)[2] > box(cam, 224, fraction=0.8)[2]


def test_a_map_that_speaks_against_the_label_has_no_box():
    assert box(np.full((7, 7), -0.5, np.float32), 224) is None


@given(maps, st.integers(8, 64))
def test_boxes_stay_in_the_frame_and_hold_the_peak(cam, size):
    found = box(cam, size)
    if found is None:
        assert cam.max() <= 1e-6 or upsample(cam, size).max() <= 0
        return
    x, y, width, height = found
    assert 0 <= x < x + width <= size
    assert 0 <= y < y + height <= size
    row, column = np.unravel_index(np.argmax(upsample(cam, size)), (size, size))
    assert x <= column < x + width
    assert y <= row < y + height

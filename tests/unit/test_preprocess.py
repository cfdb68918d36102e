import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.imaging.preprocess import SquareMap, fit_square

sides = st.integers(1, 60)


@given(sides, sides, sides, st.integers(0, 2**32))
def test_any_frame_becomes_a_square(height: int, width: int, size: int, seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = rgb.copy()
    square = fit_square(rgb, size)
    assert square.shape == (size, size, 3)
    assert square.dtype == np.uint8
    assert square.flags.c_contiguous
    assert square.flags.writeable
    assert not np.shares_memory(square, rgb)
    assert np.array_equal(rgb, before)


def test_a_square_of_the_right_size_is_untouched() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(fit_square(rgb, 32), rgb)


def test_padding_is_black_and_centred() -> None:
    square = fit_square(np.full((10, 20, 3), 200, np.uint8), 20)
    assert (square[:5] == 0).all()
    assert (square[5:15] == 200).all()
    assert (square[15:] == 0).all()


def test_down_scaling_does_not_alias() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(fit_square(stripes, 64)[:, 4:-4].astype(int)) <= 2


def test_a_strided_view_is_read_right() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(fit_square(rgb[::-1], 8), fit_square(rgb[::-1].copy(), 8))


@pytest.mark.parametrize(
    ("rgb", "size"),
    [
        (np.zeros((4, 4), np.uint8), 2),
        (np.zeros((4, 4, 4), np.uint8), 2),
        (np.zeros((4, 4, 3), np.float32), 2),
        (np.zeros((0, 4, 3), np.uint8), 2),
        (np.zeros((4, 4, 3), np.uint8), 0),
    ],
)
def test_what_is_no_frame_is_refused(rgb: np.ndarray, size: int) -> None:
    with pytest.raises(ValueError, match="a frame is"):
        fit_square(rgb, size)


@given(sides, sides, sides, st.floats(0, 1), st.floats(0, 1))
def test_a_point_of_the_square_is_found_in_the_frame(
    width: int, height: int, size: int, right: float, down: float
) -> None:
    x, y = right * width, down * height
    side = max(width, height)
    in_square = (x + (side - width) // 2) * size / side, (y + (side - height) // 2) * size / side
    assert SquareMap(width, height, size).point_to_frame(*in_square) == pytest.approx((x, y), abs=1e-9)


def test_the_map_finds_a_bright_spot_again() -> None:
    rgb = np.zeros((100, 300, 3), np.uint8)
    rgb[40:52, 240:252] = 255
    square = fit_square(rgb, 75)
    y, x = np.argwhere(square[:, :, 0] == square.max()).mean(axis=0)
    assert SquareMap(300, 100, 75).point_to_frame(x + 0.5, y + 0.5) == pytest.approx((246, 46), abs=2)


def test_a_box_in_the_padding_is_clipped_to_the_frame() -> None:
    where = SquareMap(200, 100, 50)
    assert where.box_to_frame(0, 0, 50, 50) == (0, 0, 200, 100)
    assert where.box_to_frame(10, 0, 10, 20) == (40, 0, 40, 30)

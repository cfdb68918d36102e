import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from models.imaging.quality import QUALITY_FLAGS, Quality, assess


def frame(size: int = 224) -> NDArray[np.uint8]:
    """A round field of textured grey on black."""
    noise = np.random.default_rng(0).normal(0, 25, (size // 4, size // 4))
    texture = np.asarray(Image.fromarray(noise.astype(np.float32)).resize((size, size)))
    y, x = np.mgrid[:size, :size] - size / 2
    grey = np.where(x**2 + y**2 < (0.46 * size) ** 2, np.clip(120 + texture, 30, 249), 0)
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def blurred(rgb: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(radius)))


def test_a_good_frame_has_no_flag() -> None:
    quality = assess(frame())
    assert quality.flags == ()
    assert quality.field_fraction == pytest.approx(np.pi * 0.46**2, abs=0.02)
    assert quality.brightness == pytest.approx(120, abs=8)


@pytest.mark.parametrize(
    ("square", "flags"),
    [
        ((frame() * 0.2).astype(np.uint8), ("dark",)),
        (np.minimum(frame() * 2.5, 255).astype(np.uint8), ("overexposed",)),
        (blurred(frame(), 8), ("blurred",)),
        (np.zeros((224, 224, 3), np.uint8), ("dark", "blurred", "small_field")),
        (np.full((224, 224, 3), 255, np.uint8), ("overexposed", "blurred")),
        (np.pad(frame(96), ((64, 64), (64, 64), (0, 0))), ("small_field",)),
    ],
)
def test_each_flag(square: NDArray[np.uint8], flags: tuple[str, ...]) -> None:
    assert assess(square).flags == flags


def test_sharpness_falls_with_blur_at_every_input_size() -> None:
    for size in (112, 224, 500):
        sharpness = [assess(blurred(frame(size), size / 112 * radius)).sharpness for radius in (0, 1, 2, 4)]
        assert sharpness == sorted(sharpness, reverse=True)


def test_the_rim_of_the_field_is_no_sharpness() -> None:
    disc = np.where(frame() > 0, 120, 0).astype(np.uint8)
    assert assess(disc).sharpness < 1


@given(st.integers(0, 2**32), st.integers(1, 64))
def test_measures_equal_the_obvious_ones_and_stay_in_range(seed: int, size: int) -> None:
    square = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    quality = assess(square)
    grey = np.asarray(Image.fromarray(square).convert("L").resize((112, 112), Image.Resampling.BILINEAR))
    field = grey[grey >= 12]
    assert quality.field_fraction == pytest.approx(field.size / grey.size)
    if field.size:
        assert quality.brightness == sorted(field)[(field.size - 1) // 2]
        assert quality.overexposed_fraction == pytest.approx((field >= 250).mean())
    assert set(quality.flags) <= set(QUALITY_FLAGS)
    assert isinstance(quality, Quality)

"""The colour-histogram forest."""

import numpy as np
import pytest

from models.imaging.colour_baseline import ColourBaseline, colour_histogram


def test_the_histogram_counts_each_tissue_pixel_once_per_space() -> None:
    rgb = np.random.default_rng(0).integers(16, 256, (20, 30, 3), dtype=np.uint8)
    histogram = colour_histogram(rgb)
    assert histogram.shape == (1024,)
    assert histogram.dtype == np.float32
    expected = np.zeros((8, 8, 8))
    for red, green, blue in rgb.reshape(-1, 3) // 32:
        expected[red, green, blue] += 1 / 600
    assert histogram[:512] == pytest.approx(expected.ravel(), abs=1e-6)
    assert histogram[512:].sum() == pytest.approx(1)


def test_the_black_surround_is_not_counted() -> None:
    rgb = np.zeros((10, 10, 3), dtype=np.uint8)
    rgb[3:5, 3:5] = (200, 10, 10)
    assert colour_histogram(rgb).max() == 1
    assert colour_histogram(np.zeros((4, 4, 3), dtype=np.uint8)).sum() == 0


def test_the_place_of_a_colour_does_not_matter() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    shuffled = np.random.default_rng(2).permutation(rgb.reshape(-1, 3)).reshape(rgb.shape)
    assert np.array_equal(colour_histogram(rgb), colour_histogram(shuffled))


@pytest.fixture
def red_and_green() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    frames = rng.integers(20, 90, (60, 8, 8, 3), dtype=np.uint8)
    frames[:30, :2, :, 0] = 220
    labels = np.zeros((60, 2), dtype=np.int8)
    labels[:30, 0] = 1
    labels[::2, 1] = 1
    return np.stack([colour_histogram(frame) for frame in frames]), labels


def test_it_learns_a_colour_and_repeats_itself(red_and_green: tuple[np.ndarray, np.ndarray]) -> None:
    histograms, labels = red_and_green
    one, other = (
        ColourBaseline(n_estimators=20).fit(histograms, labels).predict_proba(histograms) for _ in range(2)
    )
    assert np.array_equal(one, other)
    assert one.shape == (60, 2)
    assert one.dtype == np.float32
    assert one[:30, 0].min() > 0.5 > one[30:, 0].max()


def test_unknown_labels_are_left_out(red_and_green: tuple[np.ndarray, np.ndarray]) -> None:
    histograms, labels = red_and_green
    wrong = labels.copy()
    wrong[20:30, 0] = -1
    known = np.r_[0:20, 30:60]
    masked = ColourBaseline(n_estimators=5).fit(histograms, wrong).predict_proba(histograms)
    dropped = ColourBaseline(n_estimators=5).fit(histograms[known], labels[known]).predict_proba(histograms)
    assert np.array_equal(masked[:, 0], dropped[:, 0])


def test_a_label_without_negatives_is_refused(red_and_green: tuple[np.ndarray, np.ndarray]) -> None:
    histograms, labels = red_and_green
    labels[:, 1] = 1
    with pytest.raises(ValueError, match="label 1"):
        ColourBaseline().fit(histograms, labels)

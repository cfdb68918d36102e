"""Random fields and the small geometry they are painted with."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.synthetic.canvas import Canvas, Site, hsv, ring, smoothstep
from models.synthetic.noise import fractal_noise, smooth_noise


@pytest.mark.parametrize("cells", [1, 4, 30])
def test_noise_has_zero_mean_and_unit_variance(cells: int) -> None:
    draws = np.stack([smooth_noise(np.random.default_rng(seed), (24, 40), cells) for seed in range(400)])
    assert draws.dtype == np.float32
    assert draws.shape[1:] == (24, 40)
    # Per pixel over 400 draws: mean within five standard errors, variance within about a third.
    assert np.abs(draws.mean(axis=0)).max() < 5 / math.sqrt(400)
    assert np.abs(draws.var(axis=0) - 1).max() < 0.4


def test_fractal_noise_keeps_unit_variance() -> None:
    draws = np.stack([fractal_noise(np.random.default_rng(s), (16, 16), 3, octaves=3) for s in range(400)])
    assert np.abs(draws.var(axis=0) - 1).max() < 0.4


def test_fewer_cells_make_smoother_noise() -> None:
    coarse, fine = (smooth_noise(np.random.default_rng(0), (128, 128), cells) for cells in (4, 40))
    assert np.abs(np.diff(coarse)).mean() < 0.3 * np.abs(np.diff(fine)).mean()


@given(x=st.floats(-0.9, 0.9), y=st.floats(-0.9, 0.9), radius=st.floats(0.05, 0.5), reach=st.floats(1.0, 2.0))
def test_a_window_holds_every_pixel_within_reach(x: float, y: float, radius: float, reach: float) -> None:
    canvas, site = Canvas.blank(64, 0.95), Site(x, y, radius)
    inside = np.zeros((64, 64), dtype=bool)
    inside[canvas.slices(site, reach=reach)] = True
    # A hair inside the reach, as the grid is float32 and the window's border is not.
    near = canvas.distance(site) < reach * (1 - 1e-4)
    assert not (near & ~inside).any()


def test_a_window_shares_the_canvas() -> None:
    canvas = Canvas.blank(32, 1.0)
    part = canvas.window(slice(4, 8), slice(10, 20))
    part.paint(np.array([0.2, 0.4, 0.6], dtype=np.float32), np.ones(part.shape, dtype=np.float32))
    assert canvas.albedo[:, 5, 12] == pytest.approx([0.2, 0.4, 0.6])
    assert canvas.albedo.any(axis=0).sum() == 40


@given(aspect=st.floats(0.3, 1.0), angle=st.floats(0, math.pi))
def test_an_ellipse_keeps_the_area_of_its_site(aspect: float, angle: float) -> None:
    canvas = Canvas.blank(200, 1.0)
    covered = (canvas.distance(Site(0, 0, 0.4), aspect=aspect, angle=angle) < 1).sum()
    assert covered == pytest.approx(math.pi * (0.4 * 100) ** 2, rel=0.02)


def test_sites_know_the_gap_between_them() -> None:
    assert Site(0, 0, 0.2).gap(Site(0.3, 0.4, 0.1)) == pytest.approx(0.2)


def test_steps_rings_and_colours() -> None:
    value = np.array([-1, 0, 0.5, 1, 2], dtype=np.float32)
    assert smoothstep(0, 1, value).tolist() == [0, 0, 0.5, 1, 1]
    assert smoothstep(1, 0, value).tolist() == [1, 1, 0.5, 0, 0]
    assert ring(value, 1, 0.5)[3] == 1
    assert hsv(-360, 2.0, 0.5).tolist() == [0.5, 0, 0]

import numpy as np
import torch

from models.imaging.pca_jitter import ColourAxes, colour_axes, pca_jitter


def coloured(count=6, size=16, seed=0):
    """Reddish frames whose channels vary together, inside a black border of two pixels."""
    rng = np.random.default_rng(seed)
    light = rng.normal(0, 25, (count, size, size, 1))
    frames = np.array([150, 90, 70]) + light * [1.0, 0.6, 0.3] + rng.normal(0, 4, (count, size, size, 3))
    frames = frames.clip(20, 255).astype(np.uint8)
    frames[:, :2] = frames[:, -2:] = frames[:, :, :2] = frames[:, :, -2:] = 3
    return frames


def test_axes_are_those_of_the_covariance_of_the_chosen_frames_tissue():
    frames = coloured(100)
    rows = np.arange(3, 80)
    axes = colour_axes(frames, rows)
    tissue = frames[rows][:, 2:-2, 2:-2].reshape(-1, 3) / 255
    covariance = np.cov(tissue.T, bias=True)
    rebuilt = axes.vectors_CC @ torch.diag(axes.values_C) @ axes.vectors_CC.T
    np.testing.assert_allclose(rebuilt.numpy(), covariance, atol=1e-6)
    main = axes.vectors_CC[:, -1].numpy() * np.sign(axes.vectors_CC[0, -1].item())
    np.testing.assert_allclose(main, np.array([1, 0.6, 0.3]) / np.hypot(np.hypot(1, 0.6), 0.3), atol=0.02)


def test_a_frame_is_shifted_as_a_whole_along_the_axes_and_the_surround_is_not():
    frames = torch.from_numpy(coloured()).permute(0, 3, 1, 2).float() / 255
    axes = ColourAxes(torch.tensor([0.01, 0.05, 0.2]), torch.eye(3))
    torch.manual_seed(4)
    drawn = torch.randn(len(frames), 3) * 0.1
    torch.manual_seed(4)
    changed = pca_jitter(frames, axes, 0.1)
    expected = drawn * torch.tensor([0.01, 0.05, 0.2])
    moved = changed - frames
    inner = moved[:, :, 2:-2, 2:-2]
    assert torch.equal(moved[:, :, :2], torch.zeros_like(moved[:, :, :2]))
    torch.testing.assert_close(inner, expected[:, :, None, None].expand_as(inner), atol=1e-6, rtol=0)


def test_the_shifts_have_the_spread_that_was_asked_for():
    torch.manual_seed(0)
    vectors, _ = torch.linalg.qr(torch.randn(3, 3))
    axes = ColourAxes(torch.tensor([0.02, 0.1, 0.4]), vectors)
    frames = torch.full((20_000, 3, 1, 1), 0.5)
    shifts = (pca_jitter(frames, axes, 0.1) - 0.5).flatten(1) @ vectors
    torch.testing.assert_close(shifts.std(dim=0), 0.1 * axes.values_C, rtol=0.05, atol=0)
    assert shifts.mean(dim=0).abs().max() < 2e-3


def test_frames_that_are_all_surround_have_no_axes():
    axes = colour_axes(np.zeros((2, 4, 4, 3), np.uint8), np.arange(2))
    assert torch.equal(axes.values_C, torch.zeros(3))

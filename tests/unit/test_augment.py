import dataclasses

import pytest
import torch

from models.imaging.augment import NONE, Augmentation, add_noise, augment, blur, jitter_colour, random_warp


def only(**options):
    return dataclasses.replace(NONE, **options)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def frames():
    return torch.rand(32, 3, 24, 24) * 0.8 + 0.1


def test_nothing_asked_changes_nothing(frames):
    changed, maps = augment(frames, NONE)
    torch.testing.assert_close(changed, frames, atol=1e-5, rtol=0)
    assert maps is None


def test_bytes_become_fractions_of_one():
    frames = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(augment(frames, NONE)[0], frames / 255, atol=1e-5, rtol=0)


def test_the_trainings_precision_does_not_reach_the_frames(frames):
    torch.manual_seed(1)
    expected, _ = augment(frames, Augmentation())
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        changed, _ = augment(frames, Augmentation())
    assert changed.dtype == torch.float32
    torch.testing.assert_close(changed, expected, atol=0, rtol=0)


def test_flips_and_quarter_turns_give_the_eight_symmetries(frames):
    one = frames[:1].expand(64, -1, -1, -1)
    changed, _ = augment(one, only(flip=True, quarter_turns=True))
    turned = [torch.rot90(one[0], turns, (1, 2)) for turns in range(4)]
    symmetries = turned + [frame.flip(2) for frame in turned]
    found = {
        index
        for frame in changed
        for index, symmetry in enumerate(symmetries)
        if torch.allclose(frame, symmetry, atol=1e-4)
    }
    assert found == set(range(8))
    assert all(any(torch.allclose(frame, other, atol=1e-4) for other in symmetries) for frame in changed)


def test_rotation_stays_within_its_range():
    warp = random_warp(500, only(rotation_degrees=20.0), torch.device("cpu"))
    degrees = torch.rad2deg(torch.atan2(warp[:, 1, 0], warp[:, 0, 0]))
    assert degrees.abs().max() <= 20
    assert degrees.std() > 8
    torch.testing.assert_close(torch.linalg.det(warp[:, :, :2]), torch.ones(500))


def test_scale_and_shift_stay_within_their_ranges():
    warp = random_warp(500, only(scale=0.2, shift=0.1), torch.device("cpu"))
    size = torch.linalg.det(warp[:, :, :2]).sqrt()
    assert 1 / 1.2 - 1e-6 <= size.min() < 0.9 < 1.1 < size.max() <= 1.2 + 1e-6
    assert 0.15 < warp[:, :, 2].abs().max() <= 0.2  # of -1..1, so a tenth of the frame


def test_what_a_shift_uncovers_is_reflection():
    frames = torch.full((16, 3, 20, 20), 0.7)
    changed, _ = augment(frames, only(shift=0.4))
    torch.testing.assert_close(changed, frames)


def test_a_bright_spot_and_its_mask_stay_together():
    frames, masks = torch.full((64, 3, 32, 32), 0.3), torch.zeros(64, 1, 8, 8)
    frames[:, :, 4:8, 20:24] = 0.9
    masks[:, :, 1, 5] = 1
    warped, moved = augment(frames, Augmentation(blur=0, noise=0, shift=0), maps_BKHW=masks)
    spot = warped.mean(1).flatten(1).argmax(1)
    cell = moved.flatten(1).argmax(1)
    where = torch.stack([spot // 32, spot % 32]) / 4
    centre = torch.stack([cell // 8, cell % 8]) + 0.5
    seen = moved.flatten(1).amax(1) > 0.5
    assert seen.float().mean() > 0.5
    assert (where - centre)[:, seen].abs().max() < 1.5


def test_brightness_scales_every_channel_alike(frames):
    changed = jitter_colour(frames, only(brightness=0.3))
    gain = changed / frames
    assert (gain.amax(dim=(1, 2, 3)) - gain.amin(dim=(1, 2, 3))).max() < 1e-2
    gains = gain.mean(dim=(1, 2, 3))
    assert 0.7 <= gains.min() < 0.85 < 1.15 < gains.max() <= 1.3


def test_contrast_keeps_the_mean(frames):
    changed = jitter_colour(frames, only(contrast=0.4))
    torch.testing.assert_close(changed.mean(dim=(1, 2, 3)), frames.mean(dim=(1, 2, 3)), atol=1e-4, rtol=0)
    ratio = changed.std(dim=(1, 2, 3)) / frames.std(dim=(1, 2, 3))
    assert ratio.min() < 0.8 < 1.2 < ratio.max()


def luma(frames):
    return (frames * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)


@pytest.mark.parametrize("option", [{"hue_degrees": 40.0}, {"saturation": 0.5}])
def test_hue_and_saturation_keep_the_luma(frames, option):
    changed = jitter_colour(frames, only(**option))
    torch.testing.assert_close(luma(changed), luma(frames), atol=1e-4, rtol=0)
    assert (changed - frames).abs().mean() > 0.02


def test_grey_has_no_hue():
    grey = torch.rand(8, 1, 6, 6).expand(-1, 3, -1, -1) + 0.1
    torch.testing.assert_close(
        jitter_colour(grey, only(hue_degrees=90.0, saturation=0.9)), grey, atol=2e-3, rtol=0
    )


def test_the_black_surround_stays_black():
    frames = torch.full((16, 3, 8, 8), 0.5)
    frames[:, :, :2] = 0
    assert jitter_colour(frames, Augmentation(contrast=0.9))[:, :, :2].abs().max() == 0


def test_blur_smooths_its_share_of_the_frames(frames):
    many = frames.repeat(20, 1, 1, 1)
    changed = blur(many, 0.25)
    touched = (changed != many).flatten(1).any(1)
    assert 0.15 < touched.float().mean() < 0.35
    assert (changed[touched].std(dim=(1, 2, 3)) < 0.7 * many[touched].std(dim=(1, 2, 3))).all()
    flat = torch.full((4, 3, 9, 9), 0.4)
    torch.testing.assert_close(blur(flat, 1.0), flat)


def test_noise_has_at_most_the_stated_deviation(frames):
    deviation = (add_noise(frames, 0.1) - frames).std(dim=(1, 2, 3))
    assert 0.05 < deviation.max() < 0.11
    assert deviation.min() < 0.03


def test_results_stay_in_range(frames):
    changed, _ = augment(frames, Augmentation(brightness=0.9, contrast=0.9, noise=0.4))
    assert changed.min() >= 0
    assert changed.max() <= 1

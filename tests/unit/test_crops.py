import itertools

import pytest
import torch
from torch.nn import functional

from models.imaging.crops import RandomCrop, centre_crop, random_crop, ten_crop, views
from models.schema import SchemaError, decode


def numbered(size, count=1):
    """Frames of which every pixel has its own value."""
    frames = torch.arange(count * 3 * size * size, dtype=torch.float32)
    return frames.view(count, 3, size, size) / frames.numel()


def windows(frame, side):
    """Every window and its mirror image, by place."""
    last = frame.shape[-1] - side + 1
    found = {}
    for top, left in itertools.product(range(last), range(last)):
        window = frame[:, top : top + side, left : left + side]
        found[top, left, False], found[top, left, True] = window, window.flip(-1)
    return found


def test_a_random_crop_is_a_window_of_the_frame_or_its_mirror_image_and_reaches_all_of_them():
    torch.manual_seed(0)
    frame, how = numbered(18), RandomCrop(side_px=16, smallest_frame_px=18, largest_frame_px=18)
    known, seen = windows(frame[0], 16), set()
    for _ in range(300):
        (crop,) = random_crop(frame, how)
        (place,) = [place for place, window in known.items() if torch.equal(window, crop)]
        seen.add(place)
    assert seen == set(known)


def test_without_mirroring_none_is_mirrored():
    torch.manual_seed(0)
    frame = numbered(20)
    how = RandomCrop(side_px=18, smallest_frame_px=20, largest_frame_px=20, mirror=False)
    known = windows(frame[0], 18)
    for _ in range(20):
        (crop,) = random_crop(frame, how)
        assert [mirrored for (_, _, mirrored), window in known.items() if torch.equal(window, crop)] == [
            False
        ]


def test_the_frame_is_resized_to_a_side_within_the_bounds_first():
    torch.manual_seed(0)
    frame = numbered(40)
    how = RandomCrop(side_px=20, smallest_frame_px=20, largest_frame_px=24, mirror=False)
    sides = set()
    for _ in range(60):
        (crop,) = random_crop(frame, how)
        for side in range(20, 25):
            resized = functional.interpolate(frame, (side, side), mode="bilinear", antialias=True)[0]
            if any(torch.equal(window, crop) for window in windows(resized, 20).values()):
                sides.add(side)
    assert sides == {20, 21, 22, 23, 24}


def test_bytes_become_shares_of_full_range_and_each_frame_gets_its_own_window():
    torch.manual_seed(0)
    frames = (numbered(40, 4) * 255).to(torch.uint8)
    crops = random_crop(frames, RandomCrop(16, 20, 40))
    assert crops.shape == (4, 3, 16, 16)
    assert crops.dtype == torch.float32
    assert 0 <= crops.min() <= crops.max() <= 1
    same = random_crop(frames[:1].expand(4, -1, -1, -1), RandomCrop(16, 20, 40))
    assert len({crop.numpy().tobytes() for crop in same}) == 4


def test_ten_crops_are_corners_and_centre_then_their_mirror_images():
    frames, side, last = numbered(10, 2), 6, 4
    crops = ten_crop(frames, side)
    places = [(0, 0), (0, last), (last, 0), (last, last), (2, 2)]
    for number, (top, left) in enumerate(places):
        window = frames[:, :, top : top + side, left : left + side]
        assert torch.equal(crops[number], window)
        assert torch.equal(crops[number + 5], window.flip(3))
    assert crops.shape == (10, 2, 3, side, side)


def test_the_centre_is_in_the_middle():
    frames = numbered(9)
    assert torch.equal(centre_crop(frames, 5), frames[:, :, 2:7, 2:7])
    assert torch.equal(views(frames, "centre", 5)[0], frames[:, :, 2:7, 2:7])
    assert torch.equal(views(frames, "whole", 5)[0], frames)
    assert len(views(frames, "ten-crop", 5)) == 10


@pytest.mark.parametrize("sizes", [(224, 200, 480), (224, 256, 250)])
def test_a_crop_larger_than_its_frame_is_refused(sizes):
    names = ("side_px", "smallest_frame_px", "largest_frame_px")
    with pytest.raises(SchemaError) as refused:
        decode(RandomCrop, dict(zip(names, sizes, strict=True)))
    assert refused.value.pointer == "/side_px"

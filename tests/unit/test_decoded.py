import numpy as np
import pytest

from models.imaging.datasets import Box
from models.imaging.decoded import (
    COVERAGE_GRID,
    Stopped,
    decode_frames,
    lesion_in_square,
    lesion_regions,
    read_coverage,
)


class Boxed:
    """A dataset of two 640 x 320 frames; the first has two boxes of one label."""

    def sizes_px(self):
        return np.array([[640, 320], [640, 320]])

    def masks(self, ordinal):
        return ()

    def boxes(self, ordinal):
        return (Box("polyp", 0, 0, 80, 40), Box("polyp", 320, 160, 40.4, 20)) if ordinal == 0 else ()


def test_coverage_is_the_share_of_each_cell_of_the_padded_square():
    coverage = read_coverage(Boxed(), np.arange(2), ("bleeding", "polyp"))
    assert coverage.known_NK.tolist() == [[False, True], [False, False]]
    share = coverage.share_NKGG[0, 1] / 255
    assert share.shape == (COVERAGE_GRID, COVERAGE_GRID)
    # 20 px a cell, 160 px (8 cells) of padding above.
    assert share[8:10, 0:4].tolist() == [[1.0] * 4] * 2
    assert share[16, 16:18].tolist() == [1.0, 1.0]
    assert share.sum() == 8 + 2
    assert coverage.share_NKGG[1].max() == 0


def test_labels_that_are_not_learnt_have_no_coverage():
    assert read_coverage(Boxed(), np.arange(2), ("bleeding",)) is None


def test_every_box_is_a_region():
    assert [(label, int(region.sum())) for label, region in lesion_regions(Boxed(), 0)] == [
        ("polyp", 80 * 40),
        ("polyp", 40 * 20),
    ]


class BoxedAtTheEdge(Boxed):
    def boxes(self, ordinal):
        return (Box("polyp", -0.9, -0.6, 40, 20),)


def test_a_box_that_begins_a_pixel_outside_keeps_what_is_inside():
    ((_, region),) = lesion_regions(BoxedAtTheEdge(), 0)
    assert region[:19, :39].all()
    assert region.sum() == 19 * 39


@pytest.mark.parametrize(
    ("x", "y", "inside"), [(3, 18, True), (7, 16, True), (34, 33, True), (9, 18, False), (34, 35, False)]
)
def test_a_lesion_is_where_it_is_in_the_square(x, y, inside):
    # In a square of 64 the frame is a tenth of its size, below 16 px of padding.
    lesion = lesion_in_square(Boxed(), 0, label="polyp", size_px=64)
    assert lesion[y, x] == inside
    assert lesion.sum() * 100 == 80 * 40 + 40 * 20


def test_a_lesion_smaller_than_a_pixel_is_one_pixel():
    class Dotted(Boxed):
        def boxes(self, ordinal):
            return (Box("polyp", 100, 100, 3, 2),)

    lesion = lesion_in_square(Dotted(), 0, label="polyp", size_px=64)
    assert np.argwhere(lesion).tolist() == [[26, 10]]


def test_without_a_drawn_lesion_there_is_no_place():
    assert lesion_in_square(Boxed(), 1, label="polyp", size_px=64) is None
    assert lesion_in_square(Boxed(), 0, label="bleeding", size_px=64) is None


def test_the_room_for_all_frames_is_taken_before_the_first_is_decoded(tmp_path):
    """Where there is none it is said here: a write to mapped memory would end the process."""
    path = tmp_path / "frames.npy"
    with pytest.raises(Stopped):
        decode_frames(
            None, np.arange(50), size_px=64, path=path, report=lambda event: None, should_stop=lambda: True
        )
    assert path.stat().st_size >= 50 * 64 * 64 * 3
    assert path.stat().st_blocks * 512 >= path.stat().st_size

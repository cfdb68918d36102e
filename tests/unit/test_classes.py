import numpy as np
import pytest

from models.imaging.classes import classes_of, one_hot

LABELS = np.array(
    [
        [1, 0, 0],  # one
        [0, 0, 1],
        [1, -1, -1],  # one, unknown beside it
        [1, 1, 0],  # several
        [0, 0, 0],  # none of any
        [0, -1, 0],  # nobody knows
        [-1, -1, -1],
    ],
    np.int8,
)
NAMES = ("polyp", "blood", "ulcer")


def test_the_one_known_positive_is_the_class():
    classes = classes_of(LABELS, NAMES, none_class=None)
    assert classes.names == NAMES
    assert classes.class_N.tolist() == [0, 2, 0, -1, -1, -1, -1]
    assert classes.left_out == {"several_positives": 1, "no_positive": 1, "unknown": 2}


def test_frames_known_to_show_nothing_may_be_a_class():
    classes = classes_of(LABELS, NAMES, none_class="normal")
    assert classes.names == (*NAMES, "normal")
    assert classes.class_N.tolist() == [0, 2, 0, -1, 3, -1, -1]
    assert classes.left_out == {"several_positives": 1, "no_positive": 0, "unknown": 2}


def test_their_class_needs_a_name_of_its_own():
    with pytest.raises(ValueError, match="name of its own"):
        classes_of(LABELS, NAMES, none_class="polyp")


def test_one_hot_has_one_class_per_row():
    assert one_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]

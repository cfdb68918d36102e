"""When two readings are the same: every bit, and what is said when they are not."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.imaging import FrameReading, LabelReading, ReadBy
from service.domain.replay import ACROSS_ENGINES, LISTED, Replay, difference

CPU = {"engine": "torch", "dtype": "float32", "threads": 2}
GPU = {**CPU, "dtype": "bfloat16"}
SIDE = 2


def finding(
    label: str = "polyp", *, probability: float = 0.5, cells: tuple = (0.0, 1.0, 2.0, 3.0)
) -> LabelReading:
    cam = struct.pack(f"<{SIDE**2}e", *cells)
    return LabelReading(label, None, 0.0, probability, True, 0.5, "real", cam, SIDE)


def frame(ordinal: int = 0, *findings: LabelReading, engine: dict | None = CPU, **changes) -> FrameReading:
    read_by = None if engine is None else ReadBy(engine, 4, ordinal)
    read = FrameReading(
        ordinal, "f", "0" * 64, 1, "image/png", None, read_by=read_by, findings=findings or (finding(),)
    )
    return replace(read, **changes)


def replayed(stored: FrameReading, again: FrameReading | None) -> dict:
    found = Replay()
    found.add([stored], {} if again is None else {again.ordinal: again})
    return found.result()


def test_equal_readings_are_identical_within_a_tolerance_of_nothing():
    found = replayed(frame(), frame())
    assert (found["identical"], found["within_tolerance"], found["tolerance"]) == (True, True, 0.0)
    assert (found["frames"], found["findings"], found["differing"], found["changed"]) == (1, 1, [], [])


@pytest.mark.parametrize(
    ("again", "probability", "cam"),
    [
        (frame(0, finding(probability=0.75)), 0.25, 0.0),
        (frame(0, finding(cells=(0.0, 1.0, 2.0, 3.5))), 0.0, 0.5),
        (frame(0, replace(finding(), peak_xy=(1, 1))), 0.0, 0.0),
        (frame(0, replace(finding(), score=1e-7)), 0.0, 0.0),
        (frame(0, finding("bleeding")), 1.0, 0.0),
        (frame(0, findings=(), error_code="corrupt"), 1.0, 0.0),
    ],
)
def test_whatever_differs_is_found_with_its_size(again, probability, cam):
    found = replayed(frame(), again)
    assert (found["identical"], found["within_tolerance"], found["differing"]) == (False, False, [0])
    assert (found["largest_difference"], found["largest_map_difference"]) == (probability, cam)


def test_frames_of_other_bytes_are_named_apart_and_nothing_excuses_them():
    found = replayed(frame(engine=GPU), None)
    assert (found["changed"], found["differing"]) == ([0], [])
    assert (found["identical"], found["within_tolerance"]) == (False, False)


@pytest.mark.parametrize(("moved", "within"), [(ACROSS_ENGINES / 2, True), (ACROSS_ENGINES * 2, False)])
@pytest.mark.parametrize("engine", [GPU, None])
def test_another_or_an_unknown_engine_has_a_tolerance(engine, moved, within):
    found = replayed(frame(engine=engine), frame(0, finding(probability=0.5 + moved)))
    assert (found["identical"], found["within_tolerance"]) == (False, within)
    assert found["tolerance"] == ACROSS_ENGINES
    assert (found["engine"], found["recorded_engines"]) == (CPU, [engine and GPU])


def test_one_frame_of_another_engine_is_enough_for_the_tolerance():
    found = Replay()
    found.add([frame(0), frame(1, engine=GPU), frame(2)], {n: frame(n) for n in range(3)})
    assert found.result()["recorded_engines"] == [CPU, GPU]
    assert found.tolerance == ACROSS_ENGINES


def test_lists_end_and_counts_do_not():
    found = Replay()
    found.add([frame(n) for n in range(LISTED + 5)], {})
    result = found.result()
    assert (len(result["changed"]), result["changed_frames"]) == (LISTED, LISTED + 5)


half = st.floats(width=16, allow_nan=False, allow_infinity=False)
findings = st.builds(
    finding,
    st.sampled_from(["a", "b"]),
    probability=st.floats(0, 1, width=32),
    cells=st.tuples(*[half] * SIDE**2),
)


@given(findings, findings)
def test_a_difference_is_the_same_both_ways_and_none_to_itself(one, other):
    forth, back = difference(frame(0, one), frame(0, other)), difference(frame(0, other), frame(0, one))
    assert forth == back
    assert difference(frame(0, one), frame(0, one)).identical
    assert forth.identical == (one == other)

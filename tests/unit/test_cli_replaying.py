"""What a replay says at the terminal, and the exit code when an analysis does not come out the same."""

import pytest

from service.commands.replaying import told

ENGINE = {
    "engine": "torch",
    "dtype": "float32",
    "device": "cpu",
    "processor": "AVX512",
    "threads": 2,
    "build": "2.13.0",
}
SAME = {
    "frames": 3,
    "findings": 12,
    "identical": True,
    "within_tolerance": True,
    "largest_difference": 0.0,
    "largest_map_difference": 0.0,
    "tolerance": 0.0,
    "engine": ENGINE,
    "recorded_engines": [ENGINE],
    "differing_frames": 0,
    "differing": [],
    "changed_frames": 0,
    "changed": [],
}


def lines(found: dict) -> list[str]:
    table, *rest = told(found)
    return [": ".join(row) for row in table.rows] + rest


def test_identical_is_said_with_the_engine() -> None:
    said = lines(SAME)
    assert "identical: yes, to the last bit" in said
    assert "engine: torch, 2.13.0, float32, cpu, AVX512, 2 threads" in said
    assert len(said) == 7


@pytest.mark.parametrize(("which", "words"), [("changed", "Other bytes"), ("differing", "Other answers")])
def test_frames_are_named_as_on_the_page_and_not_all_of_them(which: str, words: str) -> None:
    found = {**SAME, "identical": False, which: list(range(12)), f"{which}_frames": 40}
    (said,) = [line for line in lines(found) if line.startswith(words)]
    assert said.endswith("frame 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 30 more")


def test_readings_from_before_have_no_engine() -> None:
    assert "first read by: not recorded" in lines({**SAME, "recorded_engines": [None]})

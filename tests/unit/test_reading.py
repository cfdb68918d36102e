"""What makes a finding positive, decided where the runner's arrays become readings."""

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from service.domain.imaging import ReadBy
from workers import analysis
from workers.reading import Frame, read, read_again
from workers.sandbox_client import Decoded


class Answering:
    """A runner that gives every frame one probability."""

    def __init__(self, probability: np.float32) -> None:
        self._probability = probability

    def call(self, op: str, header: Any, buffers: Any) -> tuple[dict[str, Any], list[bytes]]:
        assert op == "predict"
        answer = {
            "labels": ["polyp"],
            "cam_side": 1,
            "engine": {},
            "places": [[{"peak_xy": [1, 1], "box_xywh": None}]],
        }
        arrays = np.zeros((1, 1), np.float32), np.full((1, 1), self._probability), np.zeros(1, np.float16)
        return answer, [array.tobytes() for array in arrays]


@pytest.mark.parametrize("threshold", [0.1, 0.7, 0.9, 1 / 3])
def test_a_probability_that_equals_the_threshold_as_it_is_stored_is_positive(threshold: float) -> None:
    spec = {"labels": [{"name": "polyp", "code": "P", "evidence": "none"}]}
    model: Any = SimpleNamespace(spec=spec, header=dict)
    frame = Frame(0, "", "", 0, None, None, Decoded(bytearray(3), 1, 1, {}), {"polyp": threshold})
    for probability, expected in (
        (np.float32(threshold), True),
        (np.nextafter(np.float32(threshold), np.float32(0)), False),
    ):
        runner: Any = Answering(probability)
        ((found,),) = (reading.findings for reading in read(runner, model, [frame]))
        assert found.positive is expected


def test_a_threshold_below_single_precision_is_kept_as_it_decides() -> None:
    """PostgreSQL refuses a number that single precision knows as nothing."""
    spec = {"labels": [{"name": "polyp", "code": "P", "evidence": "none"}]}
    model: Any = SimpleNamespace(spec=spec, header=dict)
    frame = Frame(0, "", "", 0, None, None, Decoded(bytearray(3), 1, 1, {}), {"polyp": 1e-300})
    runner: Any = Answering(np.float32(0))
    ((found,),) = (reading.findings for reading in read(runner, model, [frame]))
    assert (found.threshold, found.positive) == (0.0, True)


def test_a_batch_of_two_versions_is_read_by_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the queue brings together: findings stand under the version that made them."""
    tasks = [SimpleNamespace(weights=SimpleNamespace(model_version_id=uuid4())) for _ in range(2)]
    coming: Any = iter(tasks)
    monkeypatch.setattr(analysis, "_load", lambda _job: next(coming))
    jobs: Any = [SimpleNamespace(), SimpleNamespace()]
    with pytest.raises(ValueError, match="several model versions"):
        analysis.analyse(jobs)


class Counting:
    """A runner whose answer tells which pixel stood where, and that remembers the sizes of its calls."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def call(self, op: str, header: Any, buffers: Any) -> tuple[dict[str, Any], list[bytes]]:
        size = len(header["sizes_px"])
        self.sizes.append(size)
        pixels = np.frombuffer(buffers[0], np.uint8).reshape(size, 3)[:, :1]
        nowhere = [[{"peak_xy": None, "box_xywh": None}]] * size
        answer = {"labels": ["polyp"], "cam_side": 1, "engine": {"engine": "e"}, "places": nowhere}
        scores = pixels.astype(np.float32)
        arrays = scores, scores / 256, np.zeros((size, 1), np.float16)
        return answer, [array.tobytes() for array in arrays]


def test_a_frame_is_read_again_in_a_call_of_the_size_and_at_the_place_of_the_first() -> None:
    spec = {"labels": [{"name": "polyp", "code": "P", "evidence": "none"}]}
    model: Any = SimpleNamespace(spec=spec, header=dict, size_px=1)
    pixels = [Decoded(bytearray([value] * 3), 1, 1, {}) for value in (10, 20, 30, 40, 50)]
    frames = [Frame(n, "", "", 0, None, None, shown, {"polyp": 0.5}) for n, shown in enumerate(pixels)]
    # Two in a call of four, one in another of four at the same place, one alone, one of an unknown call.
    places = [(4, 1), (4, 3), (4, 1), (1, 0)]
    recorded = {n: ReadBy({}, size, place) for n, (size, place) in enumerate(places)}
    runner: Any = Counting()
    again = read_again(runner, model, frames, recorded | {4: None})
    assert runner.sizes == [4, 4, 1, 1]
    assert [reading.findings[0].score for reading in again] == [10, 20, 30, 40, 50]
    placed = [reading.read_by for reading in again if reading.read_by is not None]
    assert [(by.call_frames, by.call_place) for by in placed] == [*places, (1, 0)]
    assert {tuple(by.engine.items()) for by in placed} == {(("engine", "e"),)}

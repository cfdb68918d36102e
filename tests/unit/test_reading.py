"""What makes a finding positive, decided where the runner's arrays become readings."""

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from workers import analysis
from workers.reading import Frame, read
from workers.sandbox_client import Decoded


class Answering:
    """A runner that gives every frame one probability."""

    def __init__(self, probability: np.float32) -> None:
        self._probability = probability

    def call(self, op: str, header: Any, buffers: Any) -> tuple[dict[str, Any], list[bytes]]:
        assert op == "predict"
        answer = {"labels": ["polyp"], "cam_side": 1, "places": [[{"peak_xy": [1, 1], "box_xywh": None}]]}
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

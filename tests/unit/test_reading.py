"""What makes a finding positive, decided where the runner's arrays become readings."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

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

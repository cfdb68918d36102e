"""The script that travels in a bundle decides as the service does."""

import json

import numpy as np
import pytest
import torch

from models.imaging.bundle_reader import is_positive, write_findings
from models.imaging.calibration import OFF, decide

BELOW = float(np.nextafter(np.float32(0.9), np.float32(0)))


@pytest.mark.parametrize(
    ("probability", "threshold", "expected"),
    [
        (1.0, OFF, False),  # a saturated score of a label that is off
        (1.0, 0.9, True),
        (float(np.float32(0.9)), 0.9, True),  # below 0.9 in double precision
        (BELOW, 0.9, False),
        (1.0, 0.99999999, False),  # 1 in float32
        (0.0, 0.0, True),
    ],
)
def test_a_label_is_found_as_the_service_finds_it(probability, threshold, expected):
    assert is_positive(probability, threshold) is expected
    assert decide(np.float32([probability]), [threshold]).tolist() == [expected]


def test_a_label_that_is_off_is_never_written_as_found(tmp_path):
    spec = {
        "labels": [{"name": "polyp"}, {"name": "bleeding"}],
        "operating_points": {"balanced": {"polyp": OFF, "bleeding": 0.9}},
        "default_operating_point": "balanced",
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    saturated = torch.nn.Hardtanh(0.0, 1.0)
    frames = [{"image": torch.tensor([50.0, 0.9]), "name": "a.png"}]
    write_findings(saturated, frames, str(tmp_path / "spec.json"), str(tmp_path / "findings.json"))
    (found,) = json.loads((tmp_path / "findings.json").read_text())["frames"]
    assert found["probabilities"]["polyp"] == 1.0
    assert found["positive"] == {"polyp": False, "bleeding": True}

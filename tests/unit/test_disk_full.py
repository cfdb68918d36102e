"""A full disk is the machine's fault: told by a code of its own, and what was written before stays good."""

import errno

import numpy as np
import pytest
import torch
from torch import nn

from models import checkpoints
from models.checkpoints import list_checkpoints
from models.training import Completed, StepLoss, TrainingConfig, train
from workers.runner import describe
from workers.runner_client import DISK_FULL

CPU = torch.device("cpu")
CONFIG = TrainingConfig(epochs=4, precision="float32", checkpoint_every_steps=1)


class Line:
    """Four points on a line."""

    monitor = "score"

    def __init__(self):
        torch.manual_seed(0)
        self.module = nn.Linear(1, 1)
        self.inputs = torch.arange(4.0)[:, None]

    def batches(self, epoch, rng):
        return rng.permutation(4).reshape(2, 2)

    def loss(self, module, batch):
        return StepLoss((module(self.inputs[batch]) - self.inputs[batch]).square().mean())

    def evaluate(self, module):
        return {"score": -self.loss(module, np.arange(4)).loss.item()}


def test_a_training_whose_disk_fills_up_goes_on_from_the_checkpoint_before(tmp_path, monkeypatch):
    expected = Line()
    train(expected, CONFIG, tmp_path / "whole", device=CPU)
    written, really = [], checkpoints.save_tensors

    def filling_up(tensors, path):
        written.append(path.name)
        if len(written) > 10:  # in the middle of the fourth checkpoint, its module already written
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(tensors, path)

    monkeypatch.setattr(checkpoints, "save_tensors", filling_up)
    with pytest.raises(OSError, match="No space") as full:
        train(Line(), CONFIG, tmp_path, device=CPU)
    assert describe(full.value)["code"] == DISK_FULL
    monkeypatch.setattr(checkpoints, "save_tensors", really)
    kept = list_checkpoints(tmp_path / "checkpoints")
    assert [path.name for path in kept] == ["step-0000000003", "step-0000000002"]
    assert sorted((tmp_path / "checkpoints").iterdir()) == sorted(kept)
    resumed = Line()
    outcome = train(resumed, CONFIG, tmp_path, device=CPU, resume_from=kept[0])
    assert isinstance(outcome, Completed)
    assert torch.equal(resumed.module.weight, expected.module.weight)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_runner_tells_a_full_disk_apart_and_names_no_path(number):
    told = describe(OSError(number, "No space", "/secret/path"))
    assert told == {"code": "disk_full", "detail": "The worker's disk is full.", "exception": "OSError"}


def test_other_faults_of_the_machine_stay_what_they_are():
    assert describe(PermissionError(errno.EACCES, "denied", "/secret"))["code"] == "internal_error"

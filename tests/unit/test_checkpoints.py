import errno
import random

import numpy as np
import pytest
import torch

from models import checkpoints
from models.checkpoints import (
    Checkpoint,
    capture_random_state,
    list_checkpoints,
    read_checkpoint,
    restore_random_state,
    write_checkpoint,
)

CHECKPOINT = Checkpoint({"module": {"weight": torch.arange(6.0).view(2, 3)}, "best": {}}, {"epoch": 3})


def test_a_checkpoint_survives_its_folder(tmp_path):
    read = read_checkpoint(write_checkpoint(tmp_path, 7, CHECKPOINT))
    assert read.state == CHECKPOINT.state
    assert torch.equal(read.tensors["module"]["weight"], CHECKPOINT.tensors["module"]["weight"])
    assert read.tensors["best"] == {}


def test_the_newest_two_are_kept(tmp_path):
    for step in (8, 9, 10, 11):
        write_checkpoint(tmp_path, step, CHECKPOINT)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-0000000011", "step-0000000010"]


def test_a_step_may_be_written_again(tmp_path):
    write_checkpoint(tmp_path, 1, CHECKPOINT)
    path = write_checkpoint(tmp_path, 1, Checkpoint({}, {"epoch": 4}))
    assert read_checkpoint(path).state == {"epoch": 4}


def test_a_full_disk_leaves_the_earlier_checkpoint_alone(tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path, 1, CHECKPOINT)

    def full(tensors, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(checkpoints, "save_tensors", full)
    with pytest.raises(OSError, match="no space"):
        write_checkpoint(tmp_path, 2, CHECKPOINT)
    assert list(tmp_path.iterdir()) == [path]
    assert read_checkpoint(path).state == CHECKPOINT.state


def test_what_a_kill_left_behind_is_no_checkpoint(tmp_path):
    left = tmp_path / ".step-0000000002.partial"
    left.mkdir()
    (left / "module.safetensors").write_bytes(b"half")
    assert list_checkpoints(tmp_path) == []
    write_checkpoint(tmp_path, 2, CHECKPOINT)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000002"]


def test_random_generators_go_on_where_they_were():
    def draw():
        return torch.rand(3).tolist(), np.random.random(3).tolist(), random.random(), random.gauss(0, 1)

    random.gauss(0, 1)  # leaves half a pair behind, which is state too
    np.random.standard_normal()
    state = capture_random_state()
    expected = draw()
    draw()
    restore_random_state(state)
    assert draw() == expected

"""Public weights become safetensors in a process of their own, and what is hostile does nothing."""

import json
import os
import pickle  # noqa: TID251 - to make what must be refused
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from models.artifacts import load_weights
from models.backbones.build import build_classifier
from models.backbones.shapes import shapes_only
from models.backbones.transfer import warm_start
from service.commands.converting import converted
from service.commands.problems import Complaint


def save(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "vgg16", "alexnet"])
def test_state_dicts_load_strictly_into_our_networks(name: str, tmp_path: Path) -> None:
    """VGG and AlexNet have hundreds of millions of weights, so theirs are one value repeated."""
    if name in {"resnet18", "googlenet"}:
        torch.manual_seed(0)
        state = build_classifier(name, {}, 5).state_dict()
    else:
        with shapes_only():
            shapes = build_classifier(name, {}, 5).state_dict()
        state = {
            key: torch.full((), 0.5, dtype=value.dtype).expand(value.shape) for key, value in shapes.items()
        }
    target = tmp_path / "weights.safetensors"
    made = converted(save(tmp_path / "weights.pth", state), target)
    assert made["tensors"] == len(state)
    loaded = load_weights(target, made["sha256"])
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    own = build_classifier(name, {}, 5)
    assert warm_start(own, loaded) == ()


class Creates:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("form", ["zip", "old", "bare"])
def test_a_hostile_pickle_runs_nothing(form: str, tmp_path: Path) -> None:
    made, source = tmp_path / "made", tmp_path / "weights.pth"
    content = {"weight": torch.zeros(2), "bad": Creates(made)}
    if form == "bare":
        source.write_bytes(pickle.dumps(content["bad"]))
    else:
        save(source, content, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(Complaint, match="tensors and plain values alone"):
        converted(source, tmp_path / "weights.safetensors")
    assert not made.exists()
    # It would have: the check above can fail.
    pickle.loads(pickle.dumps(Creates(made)))
    assert made.exists()


HOLE = """
    import os, socket, sys
    from pathlib import Path
    from workers import convert

    def hole(*given, **options):
        found = {"secrets": [name for name in os.environ if "ENTERON" in name or "SECRET" in name]}
        for what, act in {
            "socket": lambda: socket.socket(socket.AF_UNIX),
            "program": lambda: os.execv("/bin/true", ["true"]),
            "memory": lambda: bytearray(40 << 30),
        }.items():
            try:
                act()
                found[what] = "allowed"
            except (OSError, MemoryError) as problem:
                found[what] = type(problem).__name__
        raise convert.ConversionRefused("hole", repr(found))

    convert.read_state = hole
    convert._NAMESPACE = convert.confinement.leave_network()
    convert.main()
"""


def test_the_process_has_given_up_what_a_hole_could_use(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(HOLE), str(tmp_path / "a"), str(tmp_path / "b")]
    done = subprocess.run(command, capture_output=True, check=True)
    found = json.loads(done.stdout)["detail"]
    assert "'socket': 'PermissionError'" in found
    assert "'program': 'PermissionError'" in found
    assert "'memory': 'MemoryError'" in found


def test_it_sees_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment is written down by the interpreter that is started in its place."""
    monkeypatch.setenv("ENTERON_API_KEY", "a secret")
    spy = tmp_path / "python"
    spy.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\necho '{{\"tensors\": 0}}'\n")
    spy.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(spy))
    converted(tmp_path / "a.pth", tmp_path / "b.safetensors")
    assert "ENTERON" not in (tmp_path / "seen").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [({"weight": torch.zeros(2), "epoch": 3}, "'epoch'"), (b"no pickle", "tensors and plain values alone")],
)
def test_what_is_no_state_dict_is_refused_with_a_sentence(content: Any, said: str, tmp_path: Path) -> None:
    source = tmp_path / "weights.pth"
    source.write_bytes(content) if isinstance(content, bytes) else save(source, content)
    with pytest.raises(Complaint, match=said):
        converted(source, tmp_path / "weights.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights.pth"]


def test_a_target_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    source = save(tmp_path / "a.pth", {"weight": torch.zeros(2)})
    with pytest.raises(Complaint, match="No such file or directory"):
        converted(source, tmp_path / "absent" / "a.safetensors")

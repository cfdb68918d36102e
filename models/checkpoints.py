"""Checkpoints of a training run: one directory, written whole or not at all, verified when it is read."""

import base64
import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.artifacts import ArtifactRefused, load_weights, save_tensors
from models.schema import JsonObject

_MANIFEST = "manifest.json"
_STATE = "state.json"
# Two, so that a torn newest one costs a minute of work and not the run.
_KEEP = 2

Tensors = dict[str, torch.Tensor]


class CheckpointDamaged(ValueError):
    """A checkpoint is incomplete or altered; the caller takes the previous one."""


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: named groups of tensors ("module", "optimiser", ...) and a JSON state."""

    tensors: Mapping[str, Tensors]
    state: JsonObject


def write_checkpoint(directory: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write `directory/step-<step>` through a temporary folder and drop all but the newest two.

    Raises:
        OSError: no space or no permission; earlier checkpoints are untouched then.
    """
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"step-{step:010d}"
    with _temporary_folder(directory / f".{target.name}.partial") as partial:
        hashes = {
            f"{name}.safetensors": save_tensors(tensors, partial / f"{name}.safetensors")
            for name, tensors in checkpoint.tensors.items()
        }
        hashes[_STATE] = _write_json(checkpoint.state, partial / _STATE)
        _write_json(hashes, partial / _MANIFEST)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    _sync_folder(directory)
    for old in list_checkpoints(directory)[_KEEP:]:
        shutil.rmtree(old)
    return target


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify one checkpoint folder.

    Raises:
        CheckpointDamaged: a file is missing, torn or altered.
    """
    try:
        hashes: dict[str, str] = json.loads((path / _MANIFEST).read_bytes())
        state_bytes = (path / _STATE).read_bytes()
        if hashlib.sha256(state_bytes).hexdigest() != hashes.pop(_STATE):
            raise CheckpointDamaged("the state does not match its hash")
        tensors = {
            name.removesuffix(".safetensors"): load_weights(path / name, hashes[name]) for name in hashes
        }
        return Checkpoint(tensors, json.loads(state_bytes))
    except (OSError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointDamaged("the checkpoint is incomplete") from error
    except ArtifactRefused as error:
        raise CheckpointDamaged(f"tensors refused: {error.code}") from error
    except json.JSONDecodeError as error:
        raise CheckpointDamaged("the checkpoint is torn") from error


def list_checkpoints(directory: Path) -> list[Path]:
    """Checkpoint folders, newest first (complete by construction, not yet verified)."""
    return sorted(directory.glob("step-*"), reverse=True)


def capture_random_state() -> JsonObject:
    """State of the global generators of torch (every device), numpy and Python, JSON-able."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": _text(torch.get_rng_state()),
        "cuda": [_text(state) for state in torch.cuda.get_rng_state_all()]
        if torch.cuda.is_available()
        else [],
        "numpy": [name, base64.b64encode(np.asarray(keys).tobytes()).decode(), *rest],
        "python": random.getstate(),
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Put the generators back where `capture_random_state` found them."""
    torch.set_rng_state(_byte_tensor(state["torch"]))
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_byte_tensor(text) for text in state["cuda"]])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.frombuffer(base64.b64decode(keys), dtype=np.uint32), *rest))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


@contextmanager
def _temporary_folder(path: Path) -> Iterator[Path]:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)  # gone already where the rename happened


def _write_json(value: Any, path: Path) -> str:
    data = json.dumps(value, allow_nan=False).encode()
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(state: torch.Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _byte_tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)

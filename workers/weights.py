"""Weights on this worker's disk, by hash: fetched once, checked, and the least used dropped."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog

from service.store.findings import Weights
from workers.claimed import Claimed
from workers.runner_client import RunnerError

KEPT_FILES = 8
HASH_MISMATCH = "hash_mismatch"
# An engine that is being built says nothing; compiling alone may take three minutes.
BUILD_STALL_S = 400.0
log = structlog.get_logger()


@dataclass(frozen=True)
class LocalModel:
    """A model version whose weights lie on this disk."""

    weights: Weights
    path: Path
    device: str
    engine: str

    @property
    def spec(self) -> Mapping[str, Any]:
        return self.weights.spec

    @property
    def size_px(self) -> int:
        return int(self.spec["input"]["size_px"])

    @property
    def label_names(self) -> list[str]:
        return [label["name"] for label in self.spec["labels"]]

    def header(self) -> dict[str, Any]:
        """How a request names it to the runner."""
        return {
            "spec": self.weights.spec_json,
            "weights": str(self.path),
            "sha256": self.weights.sha256,
            "device": self.device,
            "engine": self.engine,
        }


def fetch(weights: Weights, job: Claimed) -> LocalModel:
    """The version's file, fetched if it is not here yet; raises `ObjectCorrupt` when its hash is wrong."""
    folder = job.settings.home.resolve() / "cache" / "weights"
    path = folder / f"{weights.sha256}.safetensors"
    if path.exists():
        os.utime(path)
        return LocalModel(weights, path, job.settings.device, job.settings.engine)
    folder.mkdir(parents=True, exist_ok=True)
    # Two workers may share the folder: the name becomes visible only when the bytes are whole.
    partial = folder / f"{uuid4()}.partial"
    job.objects.fetch_to(weights.object_key, partial, expected_sha256=weights.sha256)
    partial.replace(path)
    _drop_least_used(folder)
    return LocalModel(weights, path, job.settings.device, job.settings.engine)


def load(weights: Weights, job: Claimed) -> LocalModel:
    """As `fetch`, and the runner has built it: what follows may rely on every field of the spec.

    An imported version is checked to the bottom only here, where the models are: what is wrong with it ends
    the job with a code and a sentence of its own (`ArtifactRefused`).
    """
    model = fetch(weights, job)
    try:
        answer = _built(model, job)
    except RunnerError as problem:
        if problem.code != HASH_MISMATCH:
            raise
        # What was right when it was fetched has suffered on this disk since; what is stored has not.
        model.path.unlink(missing_ok=True)
        model = fetch(weights, job)
        answer = _built(model, job)
    _tell_engine(answer)
    return model


def _built(model: LocalModel, job: Claimed) -> Mapping[str, Any]:
    answer, _ = job.runner.call("load", {"model": model.header()}, stall_s=BUILD_STALL_S)
    return answer


def _tell_engine(answer: Mapping[str, Any]) -> None:
    """Once per model and runner: what reads, and what was asked for or tried and cannot be had."""
    if answer["built"] is None:
        return
    for engine, code in answer["built"]["refused"].items():
        log.warning("engine_refused", engine=engine, code=code)
    log.info(
        "model_ready", engine=answer["engine"], dtype=answer["dtype"], build_s=answer["built"]["build_s"]
    )


def _drop_least_used(folder: Path) -> None:
    by_use = sorted(folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in by_use[KEPT_FILES:]:
        path.unlink(missing_ok=True)

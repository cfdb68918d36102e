"""Training, comparison and evaluation: a recipe and datasets give a version, a table, or a measurement."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.store import findings, predicted, versions
from service.store.versions import NewVersion
from service.usecases import papers
from workers import local_dataset, weights
from workers.claimed import Claimed, Outcome
from workers.runner_client import RunnerError

CHECKPOINT_DAMAGED = "checkpoint_damaged"


def train(job: Claimed) -> Outcome:
    dataset_ids = _dataset_ids(job)
    folder = local_dataset.fetch_all(job, dataset_ids)
    answer = _run(job, "train", _header(job, folder))
    spec = json.loads(answer["spec"]) | {"name": job.spec["model_name"]}
    key, sha256, size_bytes = job.put_object(Path(answer["weights"]))
    new = NewVersion(
        name=job.spec["model_name"],
        spec=spec,
        metrics=answer["metrics"],
        weights_key=key,
        weights_sha256=sha256,
        weights_bytes=size_bytes,
        # Of several the job tells; no single one is what the version was made from.
        dataset_id=dataset_ids[0] if len(dataset_ids) == 1 else None,
        job_id=job.job_id,
    )
    result: dict[str, Any] = {"model": new.name, "metrics": new.metrics}

    def write(session: Session) -> None:
        registered = versions.register(session, tenant_id=job.tenant_id, new=new)
        # The number is given here and not before: the result is inserted after this, in the same transaction.
        result["version"] = registered.version
        result["model_version_id"] = str(registered.model_version_id)
        # By a job of their own: a plot that fails must not cost a training.
        owner = Principal(job.principal_id, job.tenant_id, frozenset())
        papers.ask(session, owner, registered.model_version_id)

    return Outcome(result, write)


def compare(job: Claimed) -> Outcome:
    folder = local_dataset.fetch_all(job, _dataset_ids(job))
    header = _header(job, folder) | {"comparison": job.spec["comparison"]}
    return Outcome({"comparison": _run(job, "compare", header)["comparison"]})


def evaluate(job: Claimed) -> Outcome:
    with job.session() as session:
        version = findings.load_weights(session, UUID(job.spec["model_version_id"]))
    folder = local_dataset.fetch(job, UUID(job.spec["dataset_id"]))
    training_index = local_dataset.fetch_training_index(job, version.model_version_id)
    header = {
        "model": weights.load(version, job).header(),
        "folder": str(folder),
        "training_index": str(training_index) if training_index else None,
        "work_dir": str(_work_dir(job)),
    }
    answer, _ = job.runner.call("evaluate", header)
    return Outcome({"metrics": answer["metrics"]})


def _dataset_ids(job: Claimed) -> list[UUID]:
    return [UUID(dataset_id) for dataset_id in job.spec["dataset_ids"]]


def _header(job: Claimed, folder: Path) -> dict[str, Any]:
    named = {"backbone": job.spec["backbone"]} if job.spec["backbone"] else {}
    return {
        "recipe": job.spec["recipe"],
        "folder": str(folder),
        "params": {**job.spec["params"], **named},
        "device": job.settings.device,
        "work_dir": str(_work_dir(job)),
        "initial_weights": _initial_weights(job),
    }


def _run(job: Claimed, operation: str, header: Mapping[str, Any]) -> Mapping[str, Any]:
    """From the newest sound checkpoint that an earlier attempt left, else from the start."""
    for checkpoint, step in job.checkpoints():
        job.message("resumed", step=step)
        try:
            return job.runner.call(operation, {**header, "resume_from": str(checkpoint)})[0]
        except RunnerError as problem:
            if problem.code != CHECKPOINT_DAMAGED:
                raise
            job.message("checkpoint_damaged", step=step)
    return job.runner.call(operation, {**header, "resume_from": None})[0]


def _initial_weights(job: Claimed) -> dict[str, str] | None:
    """The file to start from, fetched and of the hash its row has; what is in it the runner checks."""
    named = job.spec.get("initial_weights")
    if named is None:
        return None
    with job.session() as session:
        if "file_id" in named:
            file = predicted.load_file(session, UUID(named["file_id"]))
            object_key, sha256 = file.object_key, file.sha256
        else:
            version = findings.load_weights(session, UUID(named["model_version_id"]))
            object_key, sha256 = version.object_key, version.sha256
    path = job.scratch / "initial.safetensors"
    job.objects.fetch_to(object_key, path, expected_sha256=sha256)
    return {"path": str(path), "sha256": sha256}


def _work_dir(job: Claimed) -> Path:
    folder = job.scratch / "work"
    folder.mkdir()
    return folder

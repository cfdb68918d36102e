"""Ingest: an uploaded archive becomes a dataset of frames, checked in the sandbox, stored as objects."""

from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.errors import FieldError, InvalidInput
from service.store import ingests
from service.store.ingests import IngestTask, StoredObject
from workers.claimed import Claimed, Outcome
from workers.sandbox_client import SandboxRefused


def ingest(job: Claimed) -> Outcome:
    with job.session() as session:
        task = ingests.load_task(session, UUID(job.spec["dataset_id"]))
    folder = job.scratch / "dataset"
    folder.mkdir()
    report = _read(job, task, folder)
    job.progress(1, 1, "dataset", "saving")
    objects = {path.name: StoredObject(*job.put_object(path)) for path in sorted(folder.iterdir())}

    def write(session: Session) -> None:
        ingests.accept(
            session, task.dataset_id, fingerprint=report["fingerprint"], objects=objects, report=report
        )

    return Outcome(_summary(task, report), write)


def _read(job: Claimed, task: IngestTask, folder: Path) -> dict[str, Any]:
    archive = job.scratch / "upload"
    if len(task.files) != 1:
        raise InvalidInput("A dataset of frames is one archive.", code="one_archive_wanted")
    stored = task.files[0]
    job.objects.fetch_to(stored.object_key, archive, expected_sha256=stored.sha256)
    try:
        return job.sandbox.ingest(
            archive,
            task.format,
            options=task.options,
            out_dir=folder,
            on_progress=lambda done, total: job.progress(done, total, "rows", "ingesting"),
        )
    except SandboxRefused as refused:
        errors = [FieldError(refused.pointer, str(refused))] if refused.pointer else []
        raise InvalidInput(str(refused), code=refused.code, errors=errors) from None


def _summary(task: IngestTask, report: dict[str, Any]) -> dict[str, Any]:
    """For the job's result, which operators may read: groups and names stay with the dataset."""
    return {
        "dataset_id": str(task.dataset_id),
        "fingerprint": report["fingerprint"],
        "frames": report["frames"],
        "refused": report["refused"],
        "problems": {problem["code"]: problem["count"] for problem in report["problems"]},
    }

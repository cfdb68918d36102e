"""Export: files of a model version, made in the runner: card, report, ONNX, MONAI bundle."""

import json
from datetime import UTC
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.errors import InvalidInput
from service.store import findings, version_files
from service.store.findings import Weights
from service.store.version_files import NewVersionFile
from workers import weights
from workers.claimed import Claimed, Outcome


def export(job: Claimed) -> Outcome:
    version_id = UUID(job.spec["model_version_id"])
    with job.session() as session:
        version = findings.load_weights(session, version_id)
        known = json.dumps(_known(session, job, version)).encode()
    model = weights.fetch(version, job).header()
    forms = job.spec["forms"]
    files = []
    for done, form in enumerate(forms):
        job.progress(done, len(forms), "files", "exporting")
        path = job.scratch / form
        job.runner.call("export", {"model": model, "form": form, "path": str(path)}, [known])
        files.append(NewVersionFile(form, *job.put_object(path)))

    def write(session: Session) -> None:
        version_files.insert_files(
            session,
            files,
            tenant_id=job.tenant_id,
            job_id=job.job_id,
            model_version_id=version_id,
            evaluation_id=_evaluation_id(job),
        )

    made = [{"format": file.form, "sha256": file.sha256, "size": file.size_bytes} for file in files]
    return Outcome({"model": version.name, "version": version.version, "files": made}, write)


def _evaluation_id(job: Claimed) -> UUID | None:
    given = job.spec["evaluation_id"]
    return None if given is None else UUID(given)


def _known(session: Session, job: Claimed, version: Weights) -> dict[str, Any]:
    origin = version_files.origin(session, version.model_version_id)
    metrics, measured_on = origin.metrics, None
    evaluation_id = _evaluation_id(job)
    if evaluation_id is not None:
        evaluated = version_files.evaluation(session, version.model_version_id, evaluation_id)
        if evaluated is None:
            raise InvalidInput("The evaluation is gone.", code="no_evaluation")
        metrics, measured_on = evaluated.metrics, evaluated.dataset
    passport = {
        "name": origin.name,
        "version": origin.version,
        "sha256": version.sha256,
        "size_bytes": origin.size_bytes,
        "created_at": origin.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "dataset": origin.dataset,
        "job_id": None if origin.job_id is None else str(origin.job_id),
    }
    return {"passport": passport, "metrics": metrics, "measured_on": measured_on}

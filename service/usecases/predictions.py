"""Predictions: any registered model on any fitting file or dataset, through the queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Permission, Principal
from service.domain.errors import FieldError, Forbidden, InvalidInput, NotFound
from service.domain.ids import new_id
from service.domain.jobs import Kind
from service.store import audit
from service.store import jobs as job_store
from service.store import predictions as store
from service.store.predictions import NewPrediction, PredictionView
from service.store.tables.analyses import PredictionRow
from service.usecases import datasets, files, jobs, registry
from service.usecases.analyses import BLOCK_FRAMES
from service.usecases.jobs import JobView


@dataclass(frozen=True)
class Submitted:
    prediction_id: UUID
    job: JobView


@dataclass(frozen=True)
class Found:
    prediction: PredictionView
    job: JobView


def submit(
    session: Session,
    principal: Principal,
    *,
    model: str,
    file_id: UUID | None,
    dataset_id: UUID | None,
    max_queued: int,
) -> Submitted:
    _require_input(session, principal, file_id=file_id, dataset_id=dataset_id)
    version = registry.resolve(session, model, "/model")
    prediction_id = new_id()
    source = {"file_id": str(file_id)} if file_id is not None else {"dataset_id": str(dataset_id)}
    spec = {
        "prediction_id": str(prediction_id),
        "model_version_id": str(version.model_version_id),
        "weights_sha256": version.weights_sha256,
        "block_frames": BLOCK_FRAMES,
        **source,
    }
    job = jobs.submit(session, principal, Kind.PREDICTION, spec, max_queued=max_queued)
    new = NewPrediction(prediction_id, job.id, version.model_version_id, file_id, dataset_id)
    store.insert_prediction(session, new, tenant_id=principal.tenant_id, principal_id=principal.id)
    _record(session, principal, prediction_id, action=audit.Action.CREATE, operation="predictions.create")
    return Submitted(prediction_id, job)


def get(session: Session, principal: Principal, prediction_id: UUID) -> Found:
    found = _find(session, principal, prediction_id)
    job = job_store.get(session, found.job_id)
    if job is None:
        raise NotFound("There is no such prediction, or it is not yours.")
    _record(session, principal, prediction_id, action=audit.Action.READ, operation="predictions.read")
    return Found(found, jobs.view(job))


def rows(
    session: Session, principal: Principal, prediction_id: UUID, *, limit: int, after: int | None
) -> Sequence[PredictionRow]:
    _find(session, principal, prediction_id)
    _record(session, principal, prediction_id, action=audit.Action.READ, operation="predictions.rows")
    return store.rows(session, prediction_id, limit=limit, after=after)


def _require_input(
    session: Session, principal: Principal, *, file_id: UUID | None, dataset_id: UUID | None
) -> None:
    if (file_id is None) == (dataset_id is None):
        raise InvalidInput(
            "A prediction has one input.",
            errors=[FieldError("/file_id", "give either this or dataset_id")],
        )
    if file_id is not None:
        files.named_in_body(session, principal, [file_id], "/file_id")
        return
    if not principal.may(Permission.DATASETS_READ):
        raise Forbidden("Your roles do not allow reading datasets.")
    if dataset_id is not None:
        datasets.require_ready(session, dataset_id, "/dataset_id")


def _find(session: Session, principal: Principal, prediction_id: UUID) -> PredictionView:
    found = store.get(session, prediction_id, principal_id=principal.id)
    if found is None:
        raise NotFound("There is no such prediction, or it is not yours.")
    return found


def _record(
    session: Session, principal: Principal, prediction_id: UUID, *, action: audit.Action, operation: str
) -> None:
    audit.record(
        session,
        principal,
        action=action,
        operation=operation,
        object_type="prediction",
        object_id=prediction_id,
    )

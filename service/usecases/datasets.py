"""Datasets: asked for here, ingested by a worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.domain.errors import FieldError, InvalidInput, NotFound
from service.domain.ids import new_id
from service.domain.jobs import Kind
from service.store import audit
from service.store import datasets as store
from service.store.datasets import NewDataset
from service.store.tables.datasets import Dataset
from service.usecases import files, jobs
from service.usecases.jobs import JobView


@dataclass(frozen=True)
class Created:
    dataset: Dataset
    job: JobView


def create(
    session: Session,
    principal: Principal,
    *,
    name: str,
    kind: str,
    format: str,  # noqa: A002 - the word of the API
    file_ids: Sequence[UUID],
    options: Mapping[str, Any],
    max_queued: int,
) -> Created:
    """The next version of the dataset `name`; its job ingests the files."""
    files.named_in_body(session, principal, file_ids, "/file_ids/{}")
    dataset_id = new_id()
    job = jobs.submit(
        session, principal, Kind.DATASET, {"dataset_id": str(dataset_id)}, max_queued=max_queued
    )
    dataset = store.insert_dataset(
        session,
        NewDataset(dataset_id, job.id, name, kind, format, dict(options)),
        file_ids,
        tenant_id=principal.tenant_id,
        principal_id=principal.id,
    )
    audit.record(
        session,
        principal,
        action=audit.Action.CREATE,
        operation="datasets.create",
        object_type="dataset",
        object_id=dataset_id,
    )
    return Created(dataset, job)


def get(session: Session, _principal: Principal, dataset_id: UUID) -> Dataset:
    found = store.get(session, dataset_id)
    if found is None:
        raise NotFound("There is no such dataset, or it is not yours.")
    return found


def list_datasets(
    session: Session, _principal: Principal, *, limit: int, before_id: UUID | None
) -> list[Dataset]:
    return store.page(session, limit=limit, before_id=before_id)


def require_ready(session: Session, dataset_id: UUID, pointer: str) -> Dataset:
    """A dataset named in a body, if it can be used."""
    found = store.get(session, dataset_id)
    if found is None:
        raise InvalidInput(
            "The dataset is not known.",
            code="unknown_dataset",
            errors=[FieldError(pointer, "no such dataset, or not yours")],
        )
    if found.state != "ready":
        raise InvalidInput(
            "The dataset is not ready.",
            code="dataset_not_ready",
            errors=[FieldError(pointer, f"the dataset is {found.state}")],
        )
    return found

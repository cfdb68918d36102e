"""Datasets as the API writes and shows them; `store/ingests.py` holds the worker's side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from service.store.tables.datasets import Dataset, DatasetFile


@dataclass(frozen=True)
class NewDataset:
    id: UUID
    job_id: UUID
    name: str
    kind: str
    format: str
    options: dict[str, Any]


def insert_dataset(
    session: Session, new: NewDataset, file_ids: Sequence[UUID], *, tenant_id: UUID, principal_id: UUID
) -> Dataset:
    version = _next_version(session, tenant_id, new.name)
    owner = {"tenant_id": tenant_id, "principal_id": principal_id}
    values = owner | vars(new) | {"version": version}
    dataset = session.execute(insert(Dataset).values(**values).returning(Dataset)).scalar_one()
    session.execute(
        insert(DatasetFile),
        [
            {"tenant_id": tenant_id, "dataset_id": new.id, "ordinal": ordinal, "file_id": file_id}
            for ordinal, file_id in enumerate(file_ids)
        ],
    )
    return dataset


def give_to_job(session: Session, *, old_job_id: UUID, new_job_id: UUID) -> None:
    """The dataset is from now on the work of another job."""
    session.execute(
        update(Dataset).where(Dataset.job_id == old_job_id).values(job_id=new_job_id).returning(Dataset.id)
    ).scalar_one()


def get(session: Session, dataset_id: UUID) -> Dataset | None:
    return session.execute(select(Dataset).where(Dataset.id == dataset_id)).scalar_one_or_none()


def page(session: Session, *, limit: int, before_id: UUID | None) -> list[Dataset]:
    """Newest first."""
    query = select(Dataset).order_by(Dataset.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(Dataset.id < before_id)
    return list(session.execute(query).scalars())


def _next_version(session: Session, tenant_id: UUID, name: str) -> int:
    # Two datasets of one name that come at once take turns.
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
        {"key": f"dataset:{tenant_id}:{name}"},
    )
    query = select(func.coalesce(func.max(Dataset.version), 0)).where(Dataset.name == name)
    return int(session.execute(query).scalar_one()) + 1

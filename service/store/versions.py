"""Registering what a training made, or what somebody brought: an immutable version of a named model."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from service.domain.ids import new_id
from service.store.tables.base import Json
from service.store.tables.registry import Model, ModelVersion


@dataclass(frozen=True)
class NewVersion:
    """Everything about a version but its number."""

    name: str
    spec: Json
    metrics: Json
    weights_key: str
    weights_sha256: str
    weights_bytes: int
    dataset_id: UUID | None = None
    job_id: UUID | None = None


@dataclass(frozen=True)
class Registered:
    model_version_id: UUID
    name: str
    version: int


def register(session: Session, *, tenant_id: UUID, new: NewVersion) -> Registered:
    """Insert the next version of the model, making the model itself if it is new."""
    model_id = _model_id(session, tenant_id, new.name)
    version = _next_version(session, model_id)
    version_id = new_id()
    session.execute(
        insert(ModelVersion).values(
            id=version_id,
            tenant_id=tenant_id,
            model_id=model_id,
            version=version,
            task=new.spec["task"],
            spec=new.spec,
            metrics=new.metrics,
            weights_key=new.weights_key,
            weights_sha256=new.weights_sha256,
            weights_bytes=new.weights_bytes,
            dataset_id=new.dataset_id,
            dataset_fingerprint=new.spec.get("dataset_fingerprint"),
            job_id=new.job_id,
            code_version=new.spec["code_version"],
        )
    )
    return Registered(version_id, new.name, version)


def _model_id(session: Session, tenant_id: UUID, name: str) -> UUID:
    session.execute(
        upsert(Model)
        .values(id=new_id(), tenant_id=tenant_id, name=name)
        .on_conflict_do_nothing(index_elements=["tenant_id", "name"])
    )
    query = select(Model.id).where(Model.tenant_id == tenant_id, Model.name == name)
    return session.execute(query).scalar_one()


def _next_version(session: Session, model_id: UUID) -> int:
    # Versions count 1, 2, 3 without gaps, so two trainings that end at once take turns here. A row lock would
    # need the right to update `model`, which nobody has.
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"model:{model_id}"}
    )
    query = select(func.coalesce(func.max(ModelVersion.version), 0)).where(ModelVersion.model_id == model_id)
    return int(session.execute(query).scalar_one()) + 1

"""Files made of model versions, as the API serves them and the worker writes them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from service.domain.ids import new_id
from service.store.tables.base import Json
from service.store.tables.datasets import Dataset
from service.store.tables.jobs import Job, JobResult
from service.store.tables.registry import Model, ModelVersion, VersionFile


@dataclass(frozen=True)
class NewVersionFile:
    form: str
    object_key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Evaluated:
    """A later measurement: what it found, and the name of the dataset."""

    metrics: Json
    dataset: str


@dataclass(frozen=True)
class Origin:
    """What a card or report says of a version beside spec and weights."""

    name: str
    version: int
    metrics: Json
    size_bytes: int
    created_at: datetime
    job_id: UUID | None
    dataset: str | None


def insert_files(
    session: Session,
    files: list[NewVersionFile],
    *,
    tenant_id: UUID,
    job_id: UUID,
    model_version_id: UUID,
    evaluation_id: UUID | None,
) -> None:
    named = {"tenant_id": tenant_id, "job_id": job_id, "model_version_id": model_version_id}
    rows = [{"id": new_id(), "evaluation_id": evaluation_id} | named | vars(file) for file in files]
    session.execute(insert(VersionFile), rows)


def newest(
    session: Session, model_version_id: UUID, form: str, *, evaluation_id: UUID | None
) -> VersionFile | None:
    query = select(VersionFile).where(
        VersionFile.model_version_id == model_version_id,
        VersionFile.form == form,
        VersionFile.evaluation_id.is_not_distinct_from(evaluation_id),
    )
    return session.execute(query.order_by(VersionFile.id.desc()).limit(1)).scalar_one_or_none()


def origin(session: Session, model_version_id: UUID) -> Origin:
    row = session.execute(
        select(ModelVersion, Model.name, Dataset.name, Dataset.version)
        .join(Model, Model.id == ModelVersion.model_id)
        .outerjoin(Dataset, Dataset.id == ModelVersion.dataset_id)
        .where(ModelVersion.id == model_version_id)
    ).one()
    version, name, dataset, number = row
    return Origin(
        name,
        version.version,
        version.metrics,
        version.weights_bytes,
        version.created_at,
        version.job_id,
        _named(dataset, number),
    )


def evaluation(session: Session, model_version_id: UUID, job_id: UUID) -> Evaluated | None:
    """The result of an evaluation of this version; None if there is none of that id."""
    row = session.execute(
        select(JobResult.body, Dataset.name, Dataset.version)
        .join(Job, Job.id == JobResult.job_id)
        .outerjoin(Dataset, Dataset.id == Job.spec["dataset_id"].astext.cast(Dataset.id.type))
        .where(
            Job.id == job_id,
            Job.kind == "evaluation",
            Job.spec["model_version_id"].astext == str(model_version_id),
        )
    ).one_or_none()
    if row is None:
        return None
    body, dataset, number = row
    return Evaluated(body["metrics"], _named(dataset, number) or "a dataset that is gone")


def _named(name: str | None, version: int | None) -> str | None:
    return None if name is None else f"{name}, version {version}"

"""Models, their versions and aliases, as the API reads them. Shared models are the system tenant's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, insert, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from service.domain.ids import SYSTEM_TENANT_ID
from service.store.tables.jobs import Job, JobResult
from service.store.tables.registry import Model, ModelAlias, ModelVersion, Promotion


@dataclass(frozen=True)
class Resolved:
    """What a submission needs of a model version; its digest is fixed in the job."""

    model_version_id: UUID
    task: str
    weights_sha256: str
    operating_points: dict[str, Any]
    default_operating_point: str


@dataclass(frozen=True)
class VersionRow:
    id: UUID
    model_id: UUID
    name: str
    version: int
    task: str
    spec: dict[str, Any]
    metrics: dict[str, Any]
    weights_key: str
    weights_sha256: str
    weights_bytes: int
    dataset_id: UUID | None
    dataset_fingerprint: str | None
    job_id: UUID | None
    code_version: str
    created_at: datetime


@dataclass(frozen=True)
class ModelRow:
    id: UUID
    name: str
    created_at: datetime
    shared: bool


RESOLVE = text("""
SELECT v.id, v.task, v.weights_sha256, v.spec -> 'operating_points', v.spec ->> 'default_operating_point'
FROM model m
LEFT JOIN model_alias a ON a.model_id = m.id AND a.alias = :alias
JOIN model_version v ON v.model_id = m.id
  AND (v.id = a.model_version_id OR v.version = CAST(:version AS integer))
WHERE m.name = :name
ORDER BY m.tenant_id = :system
LIMIT 1
""")

_VERSION = (
    ModelVersion.id,
    ModelVersion.model_id,
    Model.name,
    ModelVersion.version,
    ModelVersion.task,
    ModelVersion.spec,
    ModelVersion.metrics,
    ModelVersion.weights_key,
    ModelVersion.weights_sha256,
    ModelVersion.weights_bytes,
    ModelVersion.dataset_id,
    ModelVersion.dataset_fingerprint,
    ModelVersion.job_id,
    ModelVersion.code_version,
    ModelVersion.created_at,
)
# A tenant's own model hides a shared one of the same name.
_OWN_FIRST = (Model.tenant_id == SYSTEM_TENANT_ID).asc()


def resolve(
    session: Session, name: str, *, alias: str | None = None, version: int | None = None
) -> Resolved | None:
    """The version an alias or a number names."""
    values = {"name": name, "alias": alias, "version": version, "system": SYSTEM_TENANT_ID}
    row = session.execute(RESOLVE, values).one_or_none()
    return None if row is None else Resolved(*row)


def find_model(session: Session, name: str) -> ModelRow | None:
    row = session.execute(_models().where(Model.name == name).order_by(_OWN_FIRST).limit(1)).one_or_none()
    return None if row is None else ModelRow(*row)


def models(session: Session, *, limit: int, after: str | None) -> list[ModelRow]:
    """By name."""
    query = _models().ext(distinct_on(Model.name)).order_by(Model.name, _OWN_FIRST).limit(limit)
    if after is not None:
        query = query.where(Model.name > after)
    return [ModelRow(*row) for row in session.execute(query)]


def versions(session: Session, model_ids: Sequence[UUID]) -> list[VersionRow]:
    """Newest first."""
    return _versions(session, ModelVersion.model_id.in_(model_ids))


def version(session: Session, model_id: UUID, number: int) -> VersionRow | None:
    found = _versions(session, (ModelVersion.model_id == model_id) & (ModelVersion.version == number))
    return found[0] if found else None


def has_weights(session: Session, name: str, sha256: str, *, besides: UUID | None = None) -> bool:
    """Whether a version of the tenant's own model of that name, other than `besides`, has these weights."""
    query = (
        select(ModelVersion.id)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(Model.name == name, ModelVersion.weights_sha256 == sha256, ModelVersion.id != besides)
    )
    return session.execute(query.limit(1)).first() is not None


def aliases(session: Session, model_ids: Sequence[UUID]) -> list[tuple[UUID, str, int]]:
    """Model, alias, version number."""
    rows = session.execute(
        select(ModelAlias.model_id, ModelAlias.alias, ModelVersion.version)
        .join(ModelVersion, ModelVersion.id == ModelAlias.model_version_id)
        .where(ModelAlias.model_id.in_(model_ids))
        .order_by(ModelAlias.alias)
    )
    return [(row.model_id, row.alias, row.version) for row in rows]


def current(session: Session, model_id: UUID, alias: str) -> UUID | None:
    """The version the alias names, locked until the transaction ends: moves of an alias take turns."""
    query = select(ModelAlias.model_version_id).where(
        ModelAlias.model_id == model_id, ModelAlias.alias == alias
    )
    return session.execute(query.with_for_update()).scalar_one_or_none()


def move_alias(session: Session, *, tenant_id: UUID, model_id: UUID, alias: str, version_id: UUID) -> None:
    statement = upsert(ModelAlias).values(
        tenant_id=tenant_id, model_id=model_id, alias=alias, model_version_id=version_id
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["model_id", "alias"], set_={"model_version_id": version_id}
        )
    )


def insert_promotion(session: Session, **values: Any) -> Promotion:
    return session.execute(insert(Promotion).values(**values).returning(Promotion)).scalar_one()


def promotions(
    session: Session, model_id: UUID, *, limit: int, before_id: int | None = None, alias: str | None = None
) -> list[Promotion]:
    """Newest first."""
    query = select(Promotion).where(Promotion.model_id == model_id)
    if before_id is not None:
        query = query.where(Promotion.id < before_id)
    if alias is not None:
        query = query.where(Promotion.alias == alias)
    return list(session.execute(query.order_by(Promotion.id.desc()).limit(limit)).scalars())


def evaluations(session: Session, version_id: UUID, *, limit: int) -> list[Row[Any]]:
    """Later evaluations of a version: job, its spec, its result, when it ended."""
    return list(
        session.execute(
            select(Job.id, Job.spec, JobResult.body, Job.finished_at)
            .join(JobResult, JobResult.job_id == Job.id)
            .where(Job.kind == "evaluation", Job.spec["model_version_id"].astext == str(version_id))
            .order_by(Job.id.desc())
            .limit(limit)
        )
    )


def _models() -> Any:
    return select(Model.id, Model.name, Model.created_at, Model.tenant_id == SYSTEM_TENANT_ID)


def _versions(session: Session, where: ColumnElement[bool]) -> list[VersionRow]:
    query = select(*_VERSION).join(Model, Model.id == ModelVersion.model_id).where(where)
    rows = session.execute(query.order_by(ModelVersion.model_id, ModelVersion.version.desc()))
    return [VersionRow(**row._mapping) for row in rows]

"""Ingested training data: a pack of frames and a label table in the object store, with what ingest found."""

from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    UniqueConstraint,
    case,
    exists,
    literal,
)
from sqlalchemy.orm import Mapped, column_property, mapped_column

from service.store.tables.base import Base, CreatedAt, Id, Json, TenantOwned
from service.store.tables.jobs import Job


class Dataset(TenantOwned, Base):
    __tablename__ = "dataset"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "name", "version"),
        CheckConstraint("(fingerprint IS NULL) = (objects IS NULL)", name="fingerprint_has_objects"),
    )

    id: Mapped[Id]
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("job.id"))
    name: Mapped[str]
    version: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str]
    format: Mapped[str]
    options: Mapped[Json]
    fingerprint: Mapped[str | None]
    objects: Mapped[Json | None]  # {file name: {object_key, sha256, size_bytes}}
    report: Mapped[Json | None]
    if TYPE_CHECKING:
        state: Mapped[str]  # ready, ingesting or refused: see below
    created_at: Mapped[CreatedAt]


# Not stored: it follows from the job, and so cannot contradict it, however the job ended.
Dataset.state = column_property(
    case(
        (Dataset.fingerprint.is_not(None), literal("ready")),
        (exists().where(Job.id == Dataset.job_id, Job.finished_at.is_(None)), literal("ingesting")),
        else_=literal("refused"),
    )
)


class DatasetFile(TenantOwned, Base):
    __tablename__ = "dataset_file"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "dataset_id"], ["dataset.tenant_id", "dataset.id"]),
        ForeignKeyConstraint(["tenant_id", "file_id"], ["file.tenant_id", "file.id"]),
    )

    dataset_id: Mapped[Id]
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    file_id: Mapped[UUID]

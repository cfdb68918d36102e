"""Ingested training data: a pack of frames and a label table in the object store, with what ingest found."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.store.tables.base import Base, CreatedAt, Id, Json, TenantOwned


class Dataset(TenantOwned, Base):
    __tablename__ = "dataset"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "name", "version"),
        CheckConstraint("state IN ('ingesting','ready','refused')", name="state"),
        CheckConstraint("(state = 'ready') = (fingerprint IS NOT NULL)", name="ready_has_fingerprint"),
    )

    id: Mapped[Id]
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("job.id"))
    name: Mapped[str]
    version: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str]
    format: Mapped[str]
    options: Mapped[Json]
    state: Mapped[str]
    fingerprint: Mapped[str | None]
    objects: Mapped[Json | None]  # {file name: {object_key, sha256, size_bytes}}
    report: Mapped[Json | None]
    created_at: Mapped[CreatedAt]


class DatasetFile(TenantOwned, Base):
    __tablename__ = "dataset_file"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "dataset_id"], ["dataset.tenant_id", "dataset.id"]),
        ForeignKeyConstraint(["tenant_id", "file_id"], ["file.tenant_id", "file.id"]),
    )

    dataset_id: Mapped[Id]
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    file_id: Mapped[UUID]

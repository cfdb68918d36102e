"""The model registry: immutable versions, moving aliases, append-only promotions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, Integer, UniqueConstraint, false, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from service.store.tables.base import Base, CreatedAt, Id, Json, TenantOwned


class Model(TenantOwned, Base):
    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("tenant_id", "name"), UniqueConstraint("tenant_id", "id"))

    id: Mapped[Id]
    name: Mapped[str]
    created_at: Mapped[CreatedAt]


class ModelVersion(TenantOwned, Base):
    """Immutable (trigger): what a finding names stays what it was."""

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("model_id", "version"),)

    id: Mapped[Id]
    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    version: Mapped[int] = mapped_column(Integer)
    task: Mapped[str]
    spec: Mapped[Json]
    metrics: Mapped[Json]
    weights_key: Mapped[str]
    weights_sha256: Mapped[str]
    weights_bytes: Mapped[int]
    dataset_id: Mapped[UUID | None] = mapped_column(ForeignKey("dataset.id"))
    dataset_fingerprint: Mapped[str | None]
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("job.id"), unique=True)
    code_version: Mapped[str]
    created_at: Mapped[CreatedAt]


class VersionFile(TenantOwned, Base):
    """What a job made of a version. Append-only (trigger); of several of one form the newest counts."""

    __tablename__ = "version_file"
    __table_args__ = (
        UniqueConstraint("job_id", "form"),
        Index("ix_version_file_model_version_id_form", "model_version_id", "form"),
    )

    id: Mapped[Id]
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"))
    form: Mapped[str]
    evaluation_id: Mapped[UUID | None] = mapped_column(ForeignKey("job.id"))  # whose report it is
    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"))
    object_key: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    created_at: Mapped[CreatedAt]


class ModelAlias(TenantOwned, Base):
    __tablename__ = "model_alias"

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"))


class Promotion(TenantOwned, Base):
    """Append-only (trigger): each move of an alias, who made it and why."""

    __tablename__ = "promotion"
    __table_args__ = (CheckConstraint("action IN ('promote','rollback')", name="action"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    alias: Mapped[str]
    action: Mapped[str]
    from_version_id: Mapped[UUID | None] = mapped_column(ForeignKey("model_version.id"))
    to_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"))
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    reason: Mapped[str]
    forced: Mapped[bool] = mapped_column(server_default=false())  # against what the comparison says
    comparison: Mapped[Json | None] = mapped_column(
        JSONB(none_as_null=True)
    )  # with the champion before, as it stood then
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

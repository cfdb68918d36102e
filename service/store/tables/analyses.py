"""Frames sent for reading, what a model found in them, and predictions of any other model."""

from uuid import UUID

from sqlalchemy import (
    REAL,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from service.store.tables.base import Base, CreatedAt, Id, Json, TenantOwned


class Analysis(TenantOwned, Base):
    __tablename__ = "analysis"
    __table_args__ = (UniqueConstraint("tenant_id", "id"),)

    id: Mapped[Id]
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"), unique=True)
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"))
    operating_point: Mapped[str]
    created_at: Mapped[CreatedAt]


class AnalysisInput(TenantOwned, Base):
    """An uploaded part: one image, or a zip of them. The name is the uploader's and may identify a person."""

    __tablename__ = "analysis_input"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "analysis_id"], ["analysis.tenant_id", "analysis.id"]),
        ForeignKeyConstraint(["tenant_id", "file_id"], ["file.tenant_id", "file.id"]),
    )

    analysis_id: Mapped[Id]
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    file_id: Mapped[UUID]
    name: Mapped[str]


class AnalysisFrame(TenantOwned, Base):
    """One frame as it was read; `error_code` says why it could not be."""

    __tablename__ = "analysis_frame"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "analysis_id"], ["analysis.tenant_id", "analysis.id"]),
        UniqueConstraint("tenant_id", "analysis_id", "ordinal"),
        CheckConstraint("num_nulls(object_key, object_offset, object_length) IN (0, 3)", name="whole_place"),
        CheckConstraint("(error_code IS NULL) = (num_nulls(width_px, height_px) = 0)", name="read_has_size"),
    )

    analysis_id: Mapped[Id]
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    media_type: Mapped[str | None]
    width_px: Mapped[int | None] = mapped_column(Integer)
    height_px: Mapped[int | None] = mapped_column(Integer)
    object_key: Mapped[str | None]  # the object that holds the bytes a browser can show ...
    object_offset: Mapped[int | None]  # ... at this place: frames of a zip lie together in one pack
    object_length: Mapped[int | None]
    quality: Mapped[Json | None]
    read_by: Mapped[Json | None] = mapped_column(
        JSONB(none_as_null=True)
    )  # engine, and the call it was read in: what a replay needs
    error_code: Mapped[str | None]


class Finding(TenantOwned, Base):
    """What one model version says of one label in one frame; the evidence travels with it."""

    __tablename__ = "finding"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "analysis_id", "frame_ordinal"],
            ["analysis_frame.tenant_id", "analysis_frame.analysis_id", "analysis_frame.ordinal"],
        ),
        CheckConstraint("probability BETWEEN 0 AND 1", name="probability"),
        CheckConstraint("evidence IN ('real','synthetic','none')", name="evidence"),
        Index(None, "tenant_id", "label", "positive"),
    )

    analysis_id: Mapped[Id]
    frame_ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str | None]
    score: Mapped[float] = mapped_column(REAL)  # logit
    probability: Mapped[float] = mapped_column(REAL)  # calibrated
    positive: Mapped[bool]
    threshold: Mapped[float] = mapped_column(REAL)
    evidence: Mapped[str]
    cam: Mapped[bytes] = mapped_column(
        LargeBinary
    )  # float16 rows of cam_side x cam_side, the logit's spatial parts
    cam_side: Mapped[int] = mapped_column(Integer)
    peak_xy: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))  # original pixels, positives only
    box_xywh: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"))
    fence: Mapped[int]


class Prediction(TenantOwned, Base):
    __tablename__ = "prediction"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        CheckConstraint("(file_id IS NULL) <> (dataset_id IS NULL)", name="one_input"),
    )

    id: Mapped[Id]
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id"), unique=True)
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_version.id"))
    file_id: Mapped[UUID | None] = mapped_column(ForeignKey("file.id"))
    dataset_id: Mapped[UUID | None] = mapped_column(ForeignKey("dataset.id"))
    created_at: Mapped[CreatedAt]


class PredictionRow(TenantOwned, Base):
    __tablename__ = "prediction_row"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "prediction_id"], ["prediction.tenant_id", "prediction.id"]),
    )

    prediction_id: Mapped[Id]
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    item: Mapped[str]
    outputs: Mapped[Json]  # {label: probability}, or {"error": code}

"""Frames sent for reading, as the API writes and shows them; `store/findings.py` holds the worker's side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from service.domain.imaging import StoredBytes
from service.store.files import NewFile
from service.store.tables.analyses import Analysis, AnalysisFrame, AnalysisInput, Finding
from service.store.tables.registry import Model, ModelVersion

# One round trip for a submit: the four inserts of the hot path together.
INSERT = text("""
WITH new_file AS (
  INSERT INTO file (id, tenant_id, principal_id, sha256, size_bytes, media_type, object_key)
  SELECT f.id, :tenant_id, :principal_id, f.sha256, f.size_bytes, f.media_type, f.object_key
  FROM unnest(CAST(:file_ids AS uuid[]), CAST(:sha256s AS text[]), CAST(:sizes AS bigint[]),
              CAST(:media_types AS text[]), CAST(:object_keys AS text[]))
    AS f(id, sha256, size_bytes, media_type, object_key)),
new_analysis AS (
  INSERT INTO analysis (id, tenant_id, principal_id, job_id, model_version_id, operating_point)
  VALUES (:id, :tenant_id, :principal_id, :job_id, :model_version_id, :operating_point)),
new_input AS (
  INSERT INTO analysis_input (tenant_id, analysis_id, ordinal, file_id, name)
  SELECT :tenant_id, :id, i.number - 1, i.file_id, i.name
  FROM unnest(CAST(:input_ids AS uuid[]), CAST(:names AS text[])) WITH ORDINALITY AS i(file_id, name, number))
INSERT INTO audit_event (tenant_id, principal_id, action, outcome, operation, object_type, object_id)
VALUES (:tenant_id, :principal_id, 'C', 0, 'analyses.create', 'analysis', :id)
""")


@dataclass(frozen=True)
class NewAnalysis:
    id: UUID
    job_id: UUID
    model_version_id: UUID
    operating_point: str


@dataclass(frozen=True)
class Input:
    """One uploaded part, under the name its uploader gave."""

    file_id: UUID
    name: str


@dataclass(frozen=True)
class AnalysisRow:
    id: UUID
    principal_id: UUID
    job_id: UUID
    operating_point: str
    created_at: datetime
    model_version_id: UUID
    model_name: str
    model_version: int
    weights_sha256: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class LocatedFinding:
    """A finding with the spec of its version and the size of its frame."""

    finding: Finding
    spec: dict[str, Any]
    width_px: int
    height_px: int


def insert_analysis(
    session: Session,
    new: NewAnalysis,
    inputs: Sequence[Input],
    files: Sequence[NewFile],
    *,
    tenant_id: UUID,
    principal_id: UUID,
) -> None:
    """The analysis, its inputs, those of their files that are new, and the record of it."""
    values = {
        "tenant_id": tenant_id,
        "principal_id": principal_id,
        "file_ids": [file.id for file in files],
        "sha256s": [file.sha256 for file in files],
        "sizes": [file.size_bytes for file in files],
        "media_types": [file.media_type for file in files],
        "object_keys": [file.object_key for file in files],
        "input_ids": [part.file_id for part in inputs],
        "names": [part.name for part in inputs],
    }
    session.execute(INSERT, values | vars(new))


def give_to_job(session: Session, *, old_job_id: UUID, new_job_id: UUID) -> None:
    """The analysis is from now on the work of another job."""
    session.execute(
        update(Analysis).where(Analysis.job_id == old_job_id).values(job_id=new_job_id).returning(Analysis.id)
    ).scalar_one()


def get(session: Session, analysis_id: UUID) -> AnalysisRow | None:
    row = session.execute(
        select(
            Analysis.id,
            Analysis.principal_id,
            Analysis.job_id,
            Analysis.operating_point,
            Analysis.created_at,
            ModelVersion.id,
            Model.name,
            ModelVersion.version,
            ModelVersion.weights_sha256,
            ModelVersion.spec,
        )
        .join(ModelVersion, ModelVersion.id == Analysis.model_version_id)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(Analysis.id == analysis_id)
    ).one_or_none()
    return None if row is None else AnalysisRow(*_values(row))


def frames(
    session: Session, analysis_id: UUID, *, limit: int, after: int | None
) -> list[tuple[AnalysisFrame, list[Finding]]]:
    """Frames in order, each with its findings, in two statements."""
    query = (
        select(AnalysisFrame)
        .where(
            AnalysisFrame.analysis_id == analysis_id,
            AnalysisFrame.ordinal > (-1 if after is None else after),
        )
        .order_by(AnalysisFrame.ordinal)
        .limit(limit)
    )
    found = session.execute(query).scalars().all()
    ordinals = [frame.ordinal for frame in found]
    by_frame: dict[int, list[Finding]] = {ordinal: [] for ordinal in ordinals}
    for finding in session.execute(
        select(Finding)
        .where(Finding.analysis_id == analysis_id, Finding.frame_ordinal.in_(ordinals))
        .order_by(Finding.label)
    ).scalars():
        by_frame[finding.frame_ordinal].append(finding)
    return [(frame, by_frame[frame.ordinal]) for frame in found]


def showable(session: Session, analysis_id: UUID, ordinal: int) -> StoredBytes | None:
    """Where a frame's bytes for a browser lie; None for one that could not be read."""
    row = session.execute(
        select(
            AnalysisFrame.object_key,
            AnalysisFrame.object_offset.label("offset"),
            AnalysisFrame.object_length.label("length"),
        ).where(
            AnalysisFrame.analysis_id == analysis_id,
            AnalysisFrame.ordinal == ordinal,
            AnalysisFrame.object_key.is_not(None),
        )
    ).one_or_none()
    return None if row is None else StoredBytes(**row._mapping)


def finding(session: Session, analysis_id: UUID, ordinal: int, label: str) -> LocatedFinding | None:
    """A frame's finding of one label."""
    row = session.execute(
        select(
            Finding,
            ModelVersion.spec,
            AnalysisFrame.width_px,
            AnalysisFrame.height_px,
        )
        .join(
            AnalysisFrame,
            (Finding.analysis_id == AnalysisFrame.analysis_id)
            & (Finding.frame_ordinal == AnalysisFrame.ordinal),
        )
        .join(ModelVersion, ModelVersion.id == Finding.model_version_id)
        .where(
            AnalysisFrame.analysis_id == analysis_id,
            AnalysisFrame.ordinal == ordinal,
            Finding.label == label,
        )
    ).one_or_none()
    return None if row is None else LocatedFinding(*_values(row))


def engines(session: Session, analysis_id: UUID) -> list[dict[str, Any]]:
    """Each engine that has read frames of it; several where a restart went on elsewhere."""
    engine = AnalysisFrame.read_by["engine"]
    query = select(engine).where(AnalysisFrame.analysis_id == analysis_id, AnalysisFrame.read_by.is_not(None))
    return sorted(session.execute(query.distinct()).scalars(), key=str)


def input_count(session: Session, analysis_id: UUID) -> int:
    query = select(func.count()).where(AnalysisInput.analysis_id == analysis_id)
    return session.execute(query).scalar_one()


def _values(row: Iterable[Any]) -> tuple[Any, ...]:
    """A row as the arguments of what it stands for."""
    return tuple(row)

"""Frames sent for reading, as the API writes and shows them; `store/findings.py` holds the worker's side."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Table, func, insert, select
from sqlalchemy.orm import Session

from service.store.tables.analyses import Analysis, AnalysisFrame, AnalysisInput, Finding
from service.store.tables.registry import Model, ModelVersion

# Core inserts: fewer steps than the ORM's on the hot path.
_ANALYSIS = cast(Table, Analysis.__table__)
_INPUT = cast(Table, AnalysisInput.__table__)


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
    calibration: dict[str, Any]


def insert_analysis(
    session: Session, new: NewAnalysis, inputs: Sequence[Input], *, tenant_id: UUID, principal_id: UUID
) -> None:
    row = {"tenant_id": tenant_id, "principal_id": principal_id} | vars(new)
    session.execute(insert(_ANALYSIS), row)
    owner = {"tenant_id": tenant_id, "analysis_id": new.id}
    session.execute(
        insert(_INPUT),
        [owner | vars(part) | {"ordinal": ordinal} for ordinal, part in enumerate(inputs)],
    )


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
            ModelVersion.spec["calibration"],
        )
        .join(ModelVersion, ModelVersion.id == Analysis.model_version_id)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(Analysis.id == analysis_id)
    ).one_or_none()
    return None if row is None else AnalysisRow(*row)


def frames(
    session: Session, analysis_id: UUID, *, limit: int, after: int | None
) -> list[tuple[AnalysisFrame, list[Finding]]]:
    """Frames in order, each with its findings, in two statements."""
    found = _frames(session, analysis_id, AnalysisFrame.ordinal > (-1 if after is None else after), limit)
    ordinals = [frame.ordinal for frame in found]
    by_frame: dict[int, list[Finding]] = {ordinal: [] for ordinal in ordinals}
    for finding in session.execute(
        select(Finding)
        .where(Finding.analysis_id == analysis_id, Finding.frame_ordinal.in_(ordinals))
        .order_by(Finding.label)
    ).scalars():
        by_frame[finding.frame_ordinal].append(finding)
    return [(frame, by_frame[frame.ordinal]) for frame in found]


def frame(session: Session, analysis_id: UUID, ordinal: int) -> AnalysisFrame | None:
    return next(iter(_frames(session, analysis_id, AnalysisFrame.ordinal == ordinal, 1)), None)


def finding(
    session: Session, analysis_id: UUID, ordinal: int, label: str
) -> tuple[AnalysisFrame, Finding, dict[str, Any]] | None:
    """A frame's finding of one label, with the spec of the version that made it."""
    row = session.execute(
        select(AnalysisFrame, Finding, ModelVersion.spec)
        .join(
            Finding,
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
    return None if row is None else (row.AnalysisFrame, row.Finding, row.spec)


def input_count(session: Session, analysis_id: UUID) -> int:
    query = select(func.count()).where(AnalysisInput.analysis_id == analysis_id)
    return session.execute(query).scalar_one()


def _frames(
    session: Session, analysis_id: UUID, where: ColumnElement[bool], limit: int
) -> list[AnalysisFrame]:
    query = (
        select(AnalysisFrame)
        .where(AnalysisFrame.analysis_id == analysis_id, where)
        .order_by(AnalysisFrame.ordinal)
        .limit(limit)
    )
    return list(session.execute(query).scalars())

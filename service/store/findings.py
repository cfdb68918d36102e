"""What a worker reads before it reads frames, and the rows it writes afterwards."""

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from service.domain.imaging import FrameReading, LabelReading, ReadBy
from service.store import analyses
from service.store.tables.analyses import Analysis, AnalysisFrame, AnalysisInput, Finding
from service.store.tables.base import Json
from service.store.tables.files import File
from service.store.tables.registry import Model, ModelVersion


@dataclass(frozen=True)
class Weights:
    """A model version as a worker needs it."""

    model_version_id: UUID
    name: str
    version: int
    spec: Json
    object_key: str
    sha256: str

    @property
    def spec_json(self) -> str:
        return json.dumps(self.spec, sort_keys=True)


@dataclass(frozen=True)
class Part:
    """One uploaded part of an analysis, in the order of upload."""

    name: str
    object_key: str
    media_type: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ReadingTask:
    analysis_id: UUID
    operating_point: str
    weights: Weights
    parts: tuple[Part, ...]


def load_weights(session: Session, model_version_id: UUID) -> Weights:
    row = session.execute(
        select(ModelVersion, Model.name)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(ModelVersion.id == model_version_id)
    ).one()
    version: ModelVersion = row.ModelVersion
    return Weights(
        version.id, row.name, version.version, version.spec, version.weights_key, version.weights_sha256
    )


def load_task(session: Session, analysis_id: UUID) -> ReadingTask:
    analysis = session.execute(select(Analysis).where(Analysis.id == analysis_id)).scalar_one()
    rows = session.execute(
        select(AnalysisInput.name, File.object_key, File.media_type, File.sha256, File.size_bytes)
        .join(File, File.id == AnalysisInput.file_id)
        .where(AnalysisInput.analysis_id == analysis_id)
        .order_by(AnalysisInput.ordinal)
    )
    weights = load_weights(session, analysis.model_version_id)
    return ReadingTask(analysis_id, analysis.operating_point, weights, tuple(Part(*row) for row in rows))


def insert_readings(
    session: Session,
    readings: Sequence[FrameReading],
    *,
    tenant_id: UUID,
    task: ReadingTask,
    fence: int,
) -> None:
    if not readings:
        return
    owner = {"tenant_id": tenant_id, "analysis_id": task.analysis_id}
    session.execute(insert(AnalysisFrame), [owner | _frame_row(reading) for reading in readings])
    source = owner | {"model_version_id": task.weights.model_version_id, "fence": fence}
    findings = [
        source | {"frame_ordinal": reading.ordinal} | vars(finding)
        for reading in readings
        for finding in reading.findings
    ]
    if findings:
        session.execute(insert(Finding), findings)


def _frame_row(reading: FrameReading) -> Json:
    row = {name: value for name, value in vars(reading).items() if name not in {"findings", "stored"}}
    stored = reading.stored
    return row | {
        "read_by": reading.read_by and asdict(reading.read_by),
        "object_key": stored and stored.object_key,
        "object_offset": stored and stored.offset,
        "object_length": stored and stored.length,
    }


def load_readings(session: Session, analysis_id: UUID, *, first: int, limit: int) -> list[FrameReading]:
    """What was found before, in the order of frames; where their bytes lie is left out."""
    found = analyses.frames(session, analysis_id, limit=limit, after=first - 1)
    return [_reading(frame, findings) for frame, findings in found]


def _reading(frame: AnalysisFrame, findings: Sequence[Finding]) -> FrameReading:
    return FrameReading(
        ordinal=frame.ordinal,
        name=frame.name,
        sha256=frame.sha256,
        size_bytes=frame.size_bytes,
        media_type=frame.media_type,
        stored=None,
        width_px=frame.width_px,
        height_px=frame.height_px,
        quality=frame.quality,
        read_by=None if frame.read_by is None else ReadBy(**frame.read_by),
        error_code=frame.error_code,
        findings=tuple(_label_reading(finding) for finding in findings),
    )


def _label_reading(finding: Finding) -> LabelReading:
    row = {name.name: getattr(finding, name.name) for name in fields(LabelReading)}
    places = {name: row[name] and tuple(row[name]) for name in ("peak_xy", "box_xywh")}
    numbers = {name: _single(row[name]) for name in ("score", "probability", "threshold")}
    return LabelReading(**(row | places | numbers))


def _single(value: float) -> float:
    """The number that is stored: PostgreSQL sends the shortest decimal of it, which is another double."""
    (stored,) = struct.unpack("<f", struct.pack("<f", value))
    return float(stored)


def count_readings(session: Session, analysis_id: UUID) -> Json:
    """Frames, unreadable frames, and positive frames per label, as they stand in the tables."""
    frames, unreadable = session.execute(
        select(func.count(), func.count(AnalysisFrame.error_code)).where(
            AnalysisFrame.analysis_id == analysis_id
        )
    ).one()
    positives = session.execute(
        select(Finding.label, func.count().filter(Finding.positive))
        .where(Finding.analysis_id == analysis_id)
        .group_by(Finding.label)
        .order_by(Finding.label)
    )
    return {
        "frames": frames,
        "unreadable": unreadable,
        "positives": dict(iter(positives)),
    }

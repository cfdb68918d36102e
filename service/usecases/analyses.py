"""Frames sent for reading, and looking at what was found. Everything here is patients' data."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain import media
from service.domain.access import Principal
from service.domain.errors import FieldError, InvalidInput, NotFound, Unsupported
from service.domain.heatmaps import MEAN, HeatMap, heat_map
from service.domain.ids import new_id
from service.domain.imaging import StoredBytes
from service.domain.jobs import Kind, Queue, is_interactive
from service.domain.registry import IMAGE_TASK
from service.store import analyses as store
from service.store import audit, findings
from service.store import jobs as job_store
from service.store.analyses import AnalysisRow, Input, NewAnalysis
from service.store.files import FileRow, NewFile
from service.store.registry import Resolved
from service.store.tables.analyses import AnalysisFrame, Finding
from service.store.tables.base import Json
from service.usecases import jobs, registry
from service.usecases.jobs import JobView

BLOCK_FRAMES = 64


@dataclass(frozen=True)
class Part:
    """One uploaded part: its bytes, and the name it came under."""

    file: NewFile | FileRow
    name: str


@dataclass(frozen=True)
class Submitted:
    analysis_id: UUID
    job: JobView


@dataclass(frozen=True)
class AnalysisView:
    """An analysis with its job, how much was found so far, and which engines read it: one as a rule."""

    row: AnalysisRow
    job: JobView
    input_count: int
    counts: Json
    engines: Sequence[Json]


@dataclass(frozen=True)
class FrameView:
    """A frame with its findings, and the analysis that says which version made them."""

    frame: AnalysisFrame
    findings: Sequence[Finding]
    analysis: AnalysisRow


@dataclass(frozen=True)
class Overlay:
    """A heat map and the size of the frame it lies over."""

    heat: HeatMap
    width_px: int
    height_px: int


def submit(
    session: Session,
    principal: Principal,
    *,
    parts: Sequence[Part],
    model: str | None,
    operating_point: str | None,
    max_queued: int | None,
) -> Submitted:
    """Rows for the analysis, its job, and those of its files that are new."""
    _refuse_unreadable(parts)
    version = registry.resolve_reader(session, model, "/model", task=IMAGE_TASK)
    point = _operating_point(version, operating_point)
    analysis_id = new_id()
    interactive = is_interactive([part.file.media_type for part in parts])
    job = jobs.submit(
        session,
        principal,
        Kind.ANALYSIS,
        {
            "analysis_id": str(analysis_id),
            "model_version_id": str(version.model_version_id),
            "weights_sha256": version.weights_sha256,
            "block_frames": BLOCK_FRAMES,
        },
        queue=Queue.INTERACTIVE if interactive else Queue.BATCH,
        # The version, not its weights: another one of equal weights may name and weigh the outputs otherwise.
        batch_key=f"analysis:{version.model_version_id}" if interactive else None,
        max_queued=max_queued,
    )
    store.insert_analysis(
        session,
        NewAnalysis(analysis_id, job.id, version.model_version_id, point),
        [Input(part.file.id, part.name) for part in parts],
        [part.file for part in parts if isinstance(part.file, NewFile)],
        tenant_id=principal.tenant_id,
        principal_id=principal.id,
    )
    return Submitted(analysis_id, job)


def get(session: Session, principal: Principal, analysis_id: UUID) -> AnalysisView:
    row = _find(session, analysis_id)
    job = job_store.get(session, row.job_id)
    if job is None:
        raise NotFound("No such analysis.")
    _record(session, principal, analysis_id, "analyses.read")
    return AnalysisView(
        row,
        jobs.view(job),
        store.input_count(session, analysis_id),
        findings.count_readings(session, analysis_id),
        store.engines(session, analysis_id),
    )


def frames(
    session: Session, principal: Principal, analysis_id: UUID, *, limit: int, after: int | None
) -> list[FrameView]:
    """Frames in order; more of them appear while the job runs."""
    analysis = _find(session, analysis_id)
    _record(session, principal, analysis_id, "analyses.frames")
    found = store.frames(session, analysis_id, limit=limit, after=after)
    return [FrameView(frame, findings, analysis) for frame, findings in found]


def image(session: Session, principal: Principal, analysis_id: UUID, ordinal: int) -> StoredBytes:
    """Where the bytes of a frame lie that a browser can show."""
    found = store.showable(session, analysis_id, ordinal)
    if found is None:
        raise NotFound("There is no such frame, or it could not be read.")
    _record(session, principal, analysis_id, "analyses.image")
    return found


def overlay(session: Session, principal: Principal, analysis_id: UUID, ordinal: int, label: str) -> Overlay:
    found = store.finding(session, analysis_id, ordinal, label)
    if found is None:
        raise NotFound("There is no such frame, or the model does not know this label.")
    _record(session, principal, analysis_id, "analyses.overlay")
    return Overlay(heat(found.finding, found.spec), found.width_px, found.height_px)


def heat(finding: Finding, spec: Json) -> HeatMap:
    """The map of a finding, as the version that made it pools and calibrates."""
    own = spec["calibration"][finding.label]
    return heat_map(
        finding.cam,
        finding.cam_side,
        score=finding.score,
        threshold=finding.threshold,
        slope=own["slope"],
        intercept=own["intercept"],
        pooling=spec["builder"].get("params", {}).get("pooling", MEAN),
    )


def _refuse_unreadable(parts: Sequence[Part]) -> None:
    """One bad frame fails alone, later; a request without any good one is refused as a whole."""
    if not parts:
        raise InvalidInput("No frames.", errors=[FieldError("/frames", "at least one is needed")])
    if not any(part.file.media_type in media.READABLE for part in parts):
        raise Unsupported("None of the frames is a JPEG, PNG, TIFF or zip.")


def _operating_point(version: Resolved, wanted: str | None) -> str:
    if wanted is None:
        return version.default_operating_point
    if wanted not in version.operating_points:
        known = ", ".join(sorted(version.operating_points))
        raise InvalidInput(
            "The model has no such operating point.",
            code="unknown_operating_point",
            errors=[FieldError("/operating_point", f"one of: {known}")],
        )
    return wanted


def _find(session: Session, analysis_id: UUID) -> AnalysisRow:
    row = store.get(session, analysis_id)
    if row is None:
        raise NotFound("No such analysis.")
    return row


def _record(session: Session, principal: Principal, analysis_id: UUID, operation: str) -> None:
    audit.record(
        session,
        principal,
        action=audit.Action.READ,
        operation=operation,
        object_type="analysis",
        object_id=analysis_id,
    )

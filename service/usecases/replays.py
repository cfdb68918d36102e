"""Replays: whether an analysis, read again from the same bytes, comes out the same."""

from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.domain.errors import Conflict, NotFound
from service.domain.jobs import Kind, State
from service.store import analyses, audit
from service.store import jobs as job_store
from service.usecases import jobs
from service.usecases.analyses import BLOCK_FRAMES
from service.usecases.jobs import JobView


def submit(session: Session, principal: Principal, analysis_id: UUID, *, max_queued: int) -> JobView:
    """A job that reads the analysis again with its own version, and compares every bit."""
    row = analyses.get(session, analysis_id)
    read_by = None if row is None else job_store.get(session, row.job_id)
    if row is None or read_by is None:
        raise NotFound("No such analysis.")
    if read_by.state != State.SUCCEEDED:
        raise Conflict("The analysis has not been read to its end.", code="not_read")
    spec = {
        "analysis_id": str(analysis_id),
        "model_version_id": str(row.model_version_id),
        "weights_sha256": row.weights_sha256,
        "block_frames": BLOCK_FRAMES,
    }
    audit.record(
        session,
        principal,
        action=audit.Action.READ,
        operation="analyses.replay",
        object_type="analysis",
        object_id=analysis_id,
    )
    return jobs.submit(session, principal, Kind.REPLAY, spec, max_queued=max_queued)

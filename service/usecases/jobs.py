"""What a client may do with jobs: submit, look, cancel. Trying again is in `retries`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Permission, Principal
from service.domain.errors import Forbidden, InvalidTransition, NotFound, RateLimited
from service.domain.ids import new_id
from service.domain.jobs import FINAL, KINDS, Kind, Queue, State
from service.domain.messages import MESSAGES
from service.store import audit
from service.store import jobs as store

EVENTS_PER_PAGE = 500

# What people see: `dead` is a failure, and waiting for parts is waiting.
SHOWN_AS = {State.DEAD: State.FAILED, State.WAITING: State.QUEUED}
TITLES = {
    "gave_up": "The job was tried several times and ended its worker each time.",
    "deadline": "The job took longer than it may.",
    "internal_error": "The job ended by a mistake of ours.",
}
TITLE = "The job could not be carried out."


@dataclass(frozen=True)
class ProgressView:
    """How far a running job is; `message_code` is closed, `message` its sentence."""

    fraction: float | None
    done: int | None
    total: int | None
    unit: str | None
    message: str | None
    message_code: str | None
    eta_s: float | None


@dataclass(frozen=True)
class ErrorView:
    code: str
    title: str
    detail: str


@dataclass(frozen=True)
class JobView:
    """A job as the API shows it, less its links."""

    id: UUID
    kind: str
    queue: str
    state: State
    progress: ProgressView
    attempts: int
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: ErrorView | None
    result: Mapping[str, Any] | None
    parent_id: UUID | None
    retry_of: UUID | None
    spec: Mapping[str, Any]  # ids and numbers only; the API draws links from it


def submit(
    session: Session,
    principal: Principal,
    kind: Kind,
    spec: Mapping[str, Any],
    *,
    queue: Queue | None = None,
    batch_key: str | None = None,
    priority: int = 0,
    parent_id: UUID | None = None,
    state: State = State.QUEUED,
    deadline_s: float | None = None,
    retry_of: UUID | None = None,
    max_queued: int | None = 10_000,
) -> JobView:
    """Insert the row in the caller's transaction; the dispatcher finds it once that has committed.

    `max_queued=None` is for a caller who counted a moment ago.
    """
    if state not in (State.QUEUED, State.WAITING):
        raise ValueError("a new job is queued or waits for its children")
    job_id = new_id()
    job = store.NewJob(
        id=job_id,
        tenant_id=principal.tenant_id,
        principal_id=principal.id,
        kind=kind.value,
        queue=(queue or KINDS[kind].queue).value,
        state=state.value,
        spec=spec,
        batch_key=batch_key or str(job_id),
        priority=priority,
        parent_id=parent_id,
        retry_of=retry_of,
        deadline_s=deadline_s,
    )
    row = store.insert(session, job, max_queued=max_queued)
    if row is None:
        raise RateLimited("As many jobs as allowed are waiting already.", retry_after_s=5)
    return view(row)


def get(session: Session, principal: Principal, job_id: UUID) -> JobView:
    return view(find(session, principal, job_id))


def list_jobs(
    session: Session,
    principal: Principal,
    *,
    limit: int,
    before_id: UUID | None = None,
    kind: Kind | None = None,
    state: State | None = None,
) -> list[JobView]:
    """Newest first, those older than `before_id`."""
    stored_as = [own for own, shown in SHOWN_AS.items() if shown == state]
    rows = store.page(
        session,
        principal.tenant_id,
        limit=limit,
        before=before_id,
        owner=_owner(principal),
        kind=kind,
        states=None if state is None else [state, *stored_as],
    )
    return [view(row) for row in rows]


def cancel(session: Session, principal: Principal, job_id: UUID) -> JobView:
    """Ask for the end of the job and its children; asking twice is asking once."""
    job = find(session, principal, job_id)
    if State(job.state) not in FINAL:
        store.cancel(session, job_id)
        # The trigger records changes of state; who asked is on record even where the worker ends the job.
        audit.record(
            session,
            principal,
            action=audit.Action.UPDATE,
            operation="jobs.cancel",
            object_type="job",
            object_id=job_id,
        )
        job = find(session, principal, job_id)
    if State(job.state) in FINAL and job.state != State.CANCELLED:
        raise InvalidTransition("The job has ended already.")
    return view(job)


def events(
    session: Session, principal: Principal, job_id: UUID, *, after_id: int = 0, limit: int = EVENTS_PER_PAGE
) -> list[store.Event]:
    """State changes and messages after the given one, oldest first."""
    find(session, principal, job_id)
    return store.events(session, job_id, after=after_id, limit=limit)


def metrics(
    session: Session, principal: Principal, job_id: UUID
) -> dict[str, list[tuple[int, float | None]]]:
    """The stored series by name; a value that is not finite has no JSON form and is None."""
    find(session, principal, job_id)
    series: dict[str, list[tuple[int, float | None]]] = {}
    for point in store.metrics(session, job_id):
        value = point.value if isfinite(point.value) else None
        series.setdefault(point.name, []).append((point.step, value))
    return series


def view(job: store.Job) -> JobView:
    """The row in the words of the API."""
    state = State(job.state)
    return JobView(
        id=job.id,
        kind=job.kind,
        queue=job.queue,
        state=SHOWN_AS.get(state, state),
        progress=_progress(job),
        attempts=job.fence,
        cancel_requested=job.cancel_requested_at is not None,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        error=_error(job),
        result=job.result,
        parent_id=job.parent_id,
        retry_of=job.retry_of,
        spec=job.spec,
    )


def find(session: Session, principal: Principal, job_id: UUID) -> store.Job:
    """The row, if the principal may see it."""
    job = store.get(session, job_id, owner=_owner(principal))
    if job is None:
        raise NotFound("There is no such job, or it is not yours.")
    return job


def _owner(principal: Principal) -> UUID | None:
    """Whose jobs the principal may see; None is everybody's of the tenant."""
    if principal.may(Permission.JOBS_ALL):
        return None
    if principal.may(Permission.JOBS_OWN):
        return principal.id
    raise Forbidden("Your roles do not allow this.")


def _progress(job: store.Job) -> ProgressView:
    done, total = job.progress.get("done"), job.progress.get("total")
    fraction = min(1.0, done / total) if done is not None and total else None
    code = job.progress.get("message")
    message = "waiting for its parts" if job.state == State.WAITING else MESSAGES.get(code or "")
    return ProgressView(
        fraction=1.0 if job.state == State.SUCCEEDED else fraction,
        done=done,
        total=total,
        unit=job.progress.get("unit"),
        message=message,
        message_code=code,
        eta_s=_eta_s(job, fraction),
    )


def _eta_s(job: store.Job, fraction: float | None) -> float | None:
    """As long again as the rest is to what is done."""
    if job.state != State.RUNNING or not fraction or job.started_at is None or job.progress_at is None:
        return None
    elapsed_s = (job.progress_at - job.started_at).total_seconds()
    return round(elapsed_s * (1 - fraction) / fraction, 1)


def _error(job: store.Job) -> ErrorView | None:
    if job.error_code is None:
        return None
    return ErrorView(job.error_code, TITLES.get(job.error_code, TITLE), job.error_detail or "")

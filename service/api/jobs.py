"""Jobs: look, follow, cancel, try again, and the self-test that proves the whole path."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.api.creating import IdempotencyKey, Prefer
from service.api.gate import Caller, GuardedRoute, needs
from service.api.hub import Watch
from service.api.job_bodies import JOB_DONE, JobBody, ShownState, job_answer, job_body, job_with_frames
from service.api.paging import Cursor, Limit, Page, number_cursor, page, uuid_cursor
from service.api.problems import content, declared
from service.domain.access import Permission
from service.domain.errors import FieldError, InvalidInput
from service.domain.jobs import FINAL, Kind, State
from service.domain.messages import MESSAGES
from service.store.jobs import Event
from service.usecases import jobs, retries
from service.usecases.jobs import JobView

STREAM_S = 600.0  # then the client comes again with Last-Event-ID, and its key is checked again
HEARTBEAT_S = 15.0

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=GuardedRoute)
Owner = Annotated[Caller, needs(Permission.JOBS_OWN)]


class SelftestRequest(BaseModel):
    """Counts to `steps` in the runner; faults only where the operator allows them."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["selftest"]
    steps: int = Field(strict=True, default=3, ge=1, le=10_000)
    step_s: float = Field(strict=True, default=0.05, ge=0, le=60)
    fault: Literal["crash", "hang", "raise"] | None = None
    at_step: int = Field(strict=True, default=0, ge=0, le=10_000)


class MetricsBody(BaseModel):
    """Stored series: name to points of [step, value]; a value that is not finite is null."""

    series: dict[str, list[list[int | float | None]]]


@router.post(
    "",
    status_code=202,
    response_model=JobBody,
    responses=JOB_DONE | declared(409, 413, 415, 422),
)
async def submit_selftest(
    body: SelftestRequest,
    request: Request,
    caller: Owner,
    _key: IdempotencyKey = None,
    _prefer: Prefer = None,
) -> Response:
    """Submit a self-test: API, database, dispatcher, broker, worker and runner in one job."""
    context = caller.context
    if body.fault is not None and not context.settings.allow_fault_injection:
        raise InvalidInput(
            "Faults are not allowed in this installation.",
            code="faults_off",
            errors=[FieldError("/fault", "must be null")],
        )
    spec = body.model_dump(exclude={"kind"})
    return await job_answer(
        request,
        caller,
        content=body.model_dump,
        make=lambda session: jobs.submit(
            session, caller.principal, Kind.SELFTEST, spec, max_queued=context.limits.max_queued_jobs
        ),
    )


@router.get("", response_model=Page[JobBody], responses=declared(422))
def list_jobs(
    caller: Owner,
    limit: Limit = 50,
    cursor: Cursor = None,
    kind: Annotated[Kind | None, Query()] = None,
    state: Annotated[ShownState | None, Query()] = None,
) -> Page[JobBody]:
    """One's own jobs, newest first; those of the whole tenant for operators."""
    before_id = uuid_cursor(cursor)
    with caller.work() as session:
        found = jobs.list_jobs(
            session,
            caller.principal,
            limit=limit + 1,
            before_id=before_id,
            kind=kind,
            state=None if state is None else State(state),
        )
    return page(found, limit, item=lambda view: job_body(caller.link, view), cursor=lambda view: view.id)


@router.get("/{job_id}", response_model=JobBody, responses=declared(404, 422))
def get_job(job_id: UUID, caller: Owner) -> JobBody:
    """One job; a small analysis that succeeded carries its frames for those who may see them."""
    with caller.work() as session:
        return job_with_frames(session, caller, jobs.get(session, caller.principal, job_id))


@router.post("/{job_id}/cancel", response_model=JobBody, responses=declared(404, 409, 422))
def cancel_job(job_id: UUID, caller: Owner) -> JobBody:
    """Ask for the end of a job and its parts; asking twice is asking once."""
    with caller.work() as session:
        return job_body(caller.link, jobs.cancel(session, caller.principal, job_id))


@router.post(
    "/{job_id}/retry",
    status_code=202,
    response_model=JobBody,
    responses=JOB_DONE | declared(404, 409, 422),
)
async def retry_job(
    job_id: UUID, request: Request, caller: Owner, _key: IdempotencyKey = None, _prefer: Prefer = None
) -> Response:
    """Run a failed or cancelled job again, once, as a new job; an analysis goes on where it ended."""
    return await job_answer(
        request,
        caller,
        content=lambda: None,
        make=lambda session: retries.retry(
            session, caller.principal, job_id, max_queued=caller.context.limits.max_queued_jobs
        ),
    )


@router.get("/{job_id}/metrics", response_model=MetricsBody, responses=declared(404, 422))
def get_metrics(job_id: UUID, caller: Owner) -> MetricsBody:
    """The stored series of a job, e.g. the losses of a training."""
    with caller.work() as session:
        series = jobs.metrics(session, caller.principal, job_id)
    return MetricsBody(series={name: [list(point) for point in points] for name, points in series.items()})


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses=content("text/event-stream", description="Events.") | declared(404, 422),
)
async def follow_job(
    job_id: UUID,
    caller: Owner,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
) -> StreamingResponse:
    """Server-sent events `progress`, `message` and `end`; resumes after Last-Event-ID.

    The stream ends after ten minutes without `end`: come again with the last id.
    """
    after = number_cursor(last_event_id, pointer="/header/last-event-id") or 0
    await run_in_threadpool(_look, caller, job_id)
    return StreamingResponse(_events(caller, job_id, after), media_type="text/event-stream")


async def _events(caller: Caller, job_id: UUID, after: int) -> AsyncIterator[str]:
    until = time.monotonic() + STREAM_S
    with caller.context.hub.watch(caller.principal.tenant_id, job_id) as watch:
        told: Any = None
        while time.monotonic() < until:
            # Marked before reading: what changes meanwhile is seen in the next round.
            mark = watch.mark
            view, body, events = await run_in_threadpool(_look, caller, job_id, after)
            for event in events:
                after = event.id
                yield _message(event)
            if view.state in FINAL:
                yield _sse("end", body.model_dump(mode="json"))
                return
            progress = body.model_dump(mode="json", include={"state", "attempts", "progress"})
            if progress != told:
                told = progress
                yield _sse("progress", progress)
            async for beat in _silence(watch, mark, until):
                yield beat


async def _silence(watch: Watch, mark: Any, until: float) -> AsyncIterator[str]:
    """Comments that keep proxies from closing the stream, until something changes."""
    while watch.mark == mark and time.monotonic() < until:
        if not await watch.change(min(HEARTBEAT_S, max(0.0, until - time.monotonic()))):
            yield ": still here\n\n"
        await asyncio.sleep(0)


def _look(caller: Caller, job_id: UUID, after: int | None = None) -> tuple[JobView, JobBody, list[Event]]:
    with caller.work() as session:
        view = jobs.get(session, caller.principal, job_id)
        events = [] if after is None else jobs.events(session, caller.principal, job_id, after_id=after)
        return view, job_with_frames(session, caller, view), events


def _message(event: Event) -> str:
    data = {
        "at": event.at.isoformat(),
        "code": event.code,
        "message": MESSAGES.get(event.code),
        "numbers": dict(event.numbers),
    }
    return _sse("message", data, event.id)


def _sse(name: str, data: Any, event_id: int | None = None) -> str:
    identity = "" if event_id is None else f"id: {event_id}\n"
    return f"event: {name}\n{identity}data: {json.dumps(data)}\n\n"

"""A job as JSON, and the answers that carry one."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from service.api import frame_bodies
from service.api.creating import once_answered, respond, wait_s
from service.api.gate import Caller
from service.api.links import Link
from service.api.problems import Responses
from service.domain.access import Permission
from service.domain.jobs import FINAL, INTERACTIVE_FRAMES, Kind, Queue, State
from service.usecases import analyses, jobs
from service.usecases.idempotency import Answer
from service.usecases.jobs import JobView

ShownState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class ProgressBody(BaseModel):
    fraction: float | None
    done: int | None
    total: int | None
    unit: str | None
    message: str | None
    eta_s: float | None


class ErrorBody(BaseModel):
    code: str
    title: str
    detail: str


class JobBody(BaseModel):
    id: UUID
    kind: Kind
    queue: Queue
    state: ShownState
    progress: ProgressBody
    attempts: int
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: ErrorBody | None
    result: dict[str, Any] | None
    links: dict[str, str]


# The second answer of routes that heed `Prefer: wait`.
JOB_DONE: Responses = {200: {"model": JobBody}}


def job_body(link: Link, view: JobView) -> JobBody:
    """The stored result only: no patient's data."""
    result = None if view.result is None else _result(view.kind, view.result)
    return JobBody.model_validate(
        {**vars(view), "result": result, "links": _links(link, view)}, from_attributes=True
    )


def job_with_frames(session: Session, caller: Caller, view: JobView) -> JobBody:
    """For those who may see frames, a small analysis carries its findings at once."""
    body = job_body(caller.link, view)
    is_read = view.kind == Kind.ANALYSIS and view.state == State.SUCCEEDED and view.result is not None
    if not is_read or not caller.principal.may(Permission.FRAMES_READ) or body.result is None:
        return body
    if body.result["frame_count"] > INTERACTIVE_FRAMES:
        return body
    analysis_id = UUID(view.spec["analysis_id"])
    found = analyses.frames(session, caller.principal, analysis_id, limit=INTERACTIVE_FRAMES, after=None)
    frames = [
        frame_bodies.frame_body(caller.link, analysis_id, frame).model_dump(mode="json") for frame in found
    ]
    return body.model_copy(update={"result": body.result | {"frames": frames}})


async def job_answer(
    request: Request, caller: Caller, *, content: Callable[[], Any], make: Callable[[Session], JobView]
) -> JSONResponse:
    """202 with the new job; with `Prefer: wait`, 200 if it ends in time."""

    def made(session: Session) -> Answer:
        view = make(session)
        body = job_body(caller.link, view)
        return Answer(202, body.model_dump(mode="json"), body.links["self"])

    answer = await once_answered(request, caller, content=content, make=made)
    return await waited(request, caller, answer)


async def waited(request: Request, caller: Caller, answer: Answer) -> JSONResponse:
    wanted_s = wait_s(request)
    if not wanted_s:
        return respond(answer)
    job_id = UUID(answer.body["id"])
    await caller.context.hub.wait_final(caller.principal.tenant_id, job_id, timeout_s=wanted_s)
    body = await run_in_threadpool(_current, caller, job_id)
    status = 200 if body.state in FINAL else answer.status
    response = respond(Answer(status, body.model_dump(mode="json"), answer.location))
    response.headers["Preference-Applied"] = f"wait={wanted_s}"
    return response


def _current(caller: Caller, job_id: UUID) -> JobBody:
    with caller.work() as session:
        return job_with_frames(session, caller, jobs.get(session, caller.principal, job_id))


def _result(kind: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(stored)
    if kind == Kind.ANALYSIS:
        # `frames` is the list of findings where there is one; the count has its own name.
        result["frame_count"] = result.pop("frames")
    return result


def _links(link: Link, view: JobView) -> dict[str, str]:
    own = link(f"/jobs/{view.id}")
    links = {"self": own, "events": f"{own}/events", "metrics": f"{own}/metrics"}
    if view.state not in FINAL:
        links["cancel"] = f"{own}/cancel"
    if view.state in (State.FAILED, State.CANCELLED):
        links["retry"] = f"{own}/retry"
    if view.retry_of is not None:
        links["retry_of"] = link(f"/jobs/{view.retry_of}")
    for kind, noun in (("analysis", "analyses"), ("prediction", "predictions"), ("dataset", "datasets")):
        if view.kind == kind:
            links[kind] = link(f"/{noun}/{view.spec[f'{kind}_id']}")
    if view.kind == Kind.REPLAY:
        links["analysis"] = link(f"/analyses/{view.spec['analysis_id']}")
    return links

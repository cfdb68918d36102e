"""Replays of analyses: the proof that a finding can be made again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.api.creating import IdempotencyKey, Prefer
from service.api.gate import Caller, GuardedRoute, needs
from service.api.job_bodies import JOB_DONE, JobBody, job_answer
from service.api.problems import declared
from service.domain.access import Permission
from service.usecases import replays

router = APIRouter(prefix="/analyses", tags=["analyses"], route_class=GuardedRoute)


@router.post(
    "/{analysis_id}/replay",
    status_code=202,
    response_model=JobBody,
    responses=JOB_DONE | declared(404, 409, 422),
)
async def create_replay(
    analysis_id: UUID,
    request: Request,
    caller: Annotated[Caller, needs(Permission.FRAMES_WRITE)],
    _key: IdempotencyKey = None,
    _prefer: Prefer = None,
) -> Response:
    """Read an analysis again from the same stored bytes, with the same version, and compare every bit.

    The job's result says whether it is `identical`, and if not by how much and in which frames: `changed`
    ones have other bytes, `differing` ones other answers. On the engine of before, nothing may differ.
    """
    return await job_answer(
        request,
        caller,
        content=lambda: {"analysis_id": str(analysis_id)},
        make=lambda session: replays.submit(
            session,
            caller.principal,
            analysis_id,
            max_queued=caller.context.limits.max_queued_jobs,
        ),
    )

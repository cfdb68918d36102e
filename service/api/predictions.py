"""Predictions: any registered model on any fitting input, through the queue; answers as rows."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from service.api.creating import IdempotencyKey, Prefer
from service.api.gate import Caller, GuardedRoute, needs
from service.api.job_bodies import JOB_DONE, JobBody, job_answer, job_body
from service.api.paging import Cursor, Limit, Page, number_cursor, page
from service.api.problems import declared
from service.domain.access import Permission
from service.domain.registry import REFERENCE_PATTERN
from service.store.tables.analyses import PredictionRow
from service.usecases import predictions

router = APIRouter(prefix="/predictions", tags=["predictions"], route_class=GuardedRoute)
Predictor = Annotated[Caller, needs(Permission.PREDICT)]


class PredictionRequest(BaseModel):
    """One input: a file of one's own, or a dataset. `version` may also stand in `model` as name:version."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(pattern=REFERENCE_PATTERN)
    version: int | None = Field(strict=True, default=None, ge=1, le=2**31 - 1)
    file_id: UUID | None = None
    dataset_id: UUID | None = None


class PredictionBody(BaseModel):
    id: UUID
    job: JobBody
    model: dict[str, Any]
    file_id: UUID | None
    dataset_id: UUID | None
    created_at: datetime
    links: dict[str, str]


class RowBody(BaseModel):
    """One item: probabilities by label, or `error` with the reason why it could not be read."""

    ordinal: int
    item: str
    outputs: dict[str, Any]


@router.post("", status_code=202, response_model=JobBody, responses=JOB_DONE | declared(409, 413, 415, 422))
async def create_prediction(
    body: PredictionRequest,
    request: Request,
    caller: Predictor,
    _key: IdempotencyKey = None,
    _prefer: Prefer = None,
) -> Response:
    """Run a model on a file or a dataset."""
    named = body.model if body.version is None else f"{body.model}:{body.version}"
    return await job_answer(
        request,
        caller,
        content=lambda: body.model_dump(mode="json"),
        make=lambda session: (
            predictions.submit(
                session,
                caller.principal,
                model=named,
                file_id=body.file_id,
                dataset_id=body.dataset_id,
                max_queued=caller.context.limits.max_queued_jobs,
            ).job
        ),
    )


@router.get("/{prediction_id}", response_model=PredictionBody, responses=declared(404, 422))
def get_prediction(prediction_id: UUID, caller: Predictor) -> PredictionBody:
    """One's own prediction and its job."""
    with caller.work() as session:
        found = predictions.get(session, caller.principal, prediction_id)
    seen, own = found.prediction, caller.link(f"/predictions/{prediction_id}")
    return PredictionBody(
        id=seen.id,
        job=job_body(caller.link, found.job),
        model={
            "name": seen.model_name,
            "version": seen.model_version,
            "id": str(seen.model_version_id),
            "sha256": seen.weights_sha256,
        },
        file_id=seen.file_id,
        dataset_id=seen.dataset_id,
        created_at=seen.created_at,
        links={"self": own, "rows": f"{own}/rows", "job": caller.link(f"/jobs/{seen.job_id}")},
    )


@router.get("/{prediction_id}/rows", response_model=Page[RowBody], responses=declared(404, 422))
def list_rows(
    prediction_id: UUID, caller: Predictor, limit: Limit = 50, cursor: Cursor = None
) -> Page[RowBody]:
    """The answers, in the order of the input."""
    after = number_cursor(cursor)
    with caller.work() as session:
        found = predictions.rows(session, caller.principal, prediction_id, limit=limit + 1, after=after)
    return page(found, limit, item=_row, cursor=lambda row: row.ordinal)


def _row(row: PredictionRow) -> RowBody:
    return RowBody(ordinal=row.ordinal, item=row.item, outputs=row.outputs)

"""Datasets: files become training data; the ingest's report says what was found."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from service.api.creating import IdempotencyKey, Prefer
from service.api.gate import Caller, GuardedRoute, needs
from service.api.job_bodies import JOB_DONE, JobBody, job_answer
from service.api.paging import Cursor, Limit, Page, page, uuid_cursor
from service.api.problems import declared
from service.domain.access import Permission
from service.domain.registry import NAME_PATTERN
from service.store.tables.datasets import Dataset
from service.usecases import datasets
from service.usecases.jobs import JobView

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=GuardedRoute)
Writer = Annotated[Caller, needs(Permission.DATASETS_WRITE)]
Reader = Annotated[Caller, needs(Permission.DATASETS_READ)]


class DatasetRequest(BaseModel):
    """The files of `file_ids` were sent before, by POST /files; `options` are the format's own."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME_PATTERN)
    kind: Literal["frames"] = "frames"
    format: str = Field(pattern=NAME_PATTERN)
    file_ids: list[UUID] = Field(min_length=1, max_length=1_000)
    options: dict[str, Any] = Field(default_factory=dict)


class DatasetBody(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    version: int
    kind: str
    format: str
    state: Literal["ingesting", "ready", "refused"]
    fingerprint: str | None
    report: dict[str, Any] | None
    created_at: datetime
    job_id: UUID | None


def _body(dataset: Dataset) -> DatasetBody:
    return DatasetBody.model_validate(dataset)


@router.post("", status_code=202, response_model=JobBody, responses=JOB_DONE | declared(409, 413, 415, 422))
async def create_dataset(
    body: DatasetRequest,
    request: Request,
    caller: Writer,
    _key: IdempotencyKey = None,
    _prefer: Prefer = None,
) -> Response:
    """Ingest files as the next version of a dataset."""

    def make(session: Session) -> JobView:
        return datasets.create(
            session,
            caller.principal,
            name=body.name,
            kind=body.kind,
            format=body.format,
            file_ids=body.file_ids,
            options=body.options,
            max_queued=caller.context.limits.max_queued_jobs,
        ).job

    return await job_answer(request, caller, content=lambda: body.model_dump(mode="json"), make=make)


@router.get("", response_model=Page[DatasetBody], responses=declared(422))
def list_datasets(caller: Reader, limit: Limit = 50, cursor: Cursor = None) -> Page[DatasetBody]:
    """The tenant's datasets, newest first."""
    before_id = uuid_cursor(cursor)
    with caller.work() as session:
        found = datasets.list_datasets(session, caller.principal, limit=limit + 1, before_id=before_id)
    return page(found, limit, item=_body, cursor=lambda dataset: dataset.id)


@router.get("/{dataset_id}", response_model=DatasetBody, responses=declared(404, 422))
def get_dataset(dataset_id: UUID, caller: Reader) -> DatasetBody:
    """A dataset: counts, groups, problems found, fingerprint."""
    with caller.work() as session:
        return _body(datasets.get(session, caller.principal, dataset_id))

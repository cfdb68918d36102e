"""Training: what can be trained, and a job that makes a model version."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from service.api.creating import IdempotencyKey, Prefer
from service.api.gate import Caller, GuardedRoute, needs
from service.api.job_bodies import JOB_DONE, JobBody, job_answer
from service.api.paging import Page
from service.api.problems import declared
from service.domain.access import Permission
from service.domain.registry import NAME_PATTERN
from service.usecases import trainings, workers

router = APIRouter(tags=["training"], route_class=GuardedRoute)
Trainer = Annotated[Caller, needs(Permission.TRAIN)]
Reader = Annotated[Caller, needs(Permission.MODELS_READ)]


class ComparisonRequest(BaseModel):
    """Train every arm of the recipe on every fold with every seed; the result is a table and no version."""

    model_config = ConfigDict(extra="forbid")

    folds: int = Field(strict=True, default=5, ge=2, le=50)
    seeds: int = Field(strict=True, default=3, ge=1, le=50)
    order: Literal["contiguous", "stratified"] = "contiguous"


class TrainingRequest(BaseModel):
    """Of several datasets, a label that one does not have is unknown on its frames."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    recipe: str = Field(pattern=NAME_PATTERN)
    dataset_id: UUID
    more_dataset_ids: list[UUID] = Field(default_factory=list, max_length=15)
    compare: ComparisonRequest | None = None
    backbone: str | None = Field(default=None, pattern=NAME_PATTERN)
    params: dict[str, Any] = Field(default_factory=dict)
    model_name: str | None = Field(default=None, pattern=NAME_PATTERN)


class SynthesisRequest(BaseModel):
    """Capsule-like frames drawn by code, as a labelled zip."""

    model_config = ConfigDict(extra="forbid")

    seed: int = Field(strict=True, ge=0, lt=2**31)
    frames: int = Field(strict=True, ge=1, le=20_000)
    domain: str = Field(default="train", pattern="^(train|test)$")
    size_px: int = Field(strict=True, default=336, ge=64, le=1024)


@router.get("/backbones", response_model=Page[dict[str, Any]], responses=declared())
def list_backbones(caller: Reader) -> Page[dict[str, Any]]:
    """The networks that the workers at hand can train."""
    with caller.work() as session:
        found = workers.catalogue(session, caller.principal, "backbones")
    return Page(items=[dict(entry) for entry in found], next_cursor=None)


@router.get("/recipes", response_model=Page[dict[str, Any]], responses=declared())
def list_recipes(caller: Reader) -> Page[dict[str, Any]]:
    """The training recipes that the workers at hand know, with the schema of their parameters."""
    with caller.work() as session:
        found = workers.catalogue(session, caller.principal, "recipes")
    return Page(items=[dict(entry) for entry in found], next_cursor=None)


@router.post(
    "/trainings", status_code=202, response_model=JobBody, responses=JOB_DONE | declared(409, 413, 415, 422)
)
async def create_training(
    body: TrainingRequest,
    request: Request,
    caller: Trainer,
    _key: IdempotencyKey = None,
    _prefer: Prefer = None,
) -> Response:
    """Train a model; its new version is nobody's champion until promoted."""
    return await job_answer(
        request,
        caller,
        content=lambda: body.model_dump(mode="json"),
        make=lambda session: trainings.submit(
            session,
            caller.principal,
            recipe=body.recipe,
            dataset_ids=[body.dataset_id, *body.more_dataset_ids],
            backbone=body.backbone,
            params=body.params,
            model_name=body.model_name,
            comparison=None if body.compare is None else body.compare.model_dump(),
            max_queued=caller.context.limits.max_queued_jobs,
        ),
    )


@router.post(
    "/syntheses", status_code=202, response_model=JobBody, responses=JOB_DONE | declared(409, 413, 415, 422)
)
async def create_synthesis(
    body: SynthesisRequest,
    request: Request,
    caller: Trainer,
    _key: IdempotencyKey = None,
    _prefer: Prefer = None,
) -> Response:
    """Draw synthetic frames with ground truth; the result names the file."""
    return await job_answer(
        request,
        caller,
        content=lambda: body.model_dump(mode="json"),
        make=lambda session: trainings.synthesize(
            session,
            caller.principal,
            spec=body.model_dump(),
            max_queued=caller.context.limits.max_queued_jobs,
        ),
    )

"""The model registry: versions never change, aliases move, every move is kept with its reason."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from service.api import bodies
from service.api.creating import IdempotencyKey, Prefer, once_answered, respond, uploading
from service.api.gate import Caller, GuardedRoute, needs
from service.api.job_bodies import JOB_DONE, JobBody, job_answer
from service.api.model_bodies import (
    CardBody,
    EvaluationBody,
    EvaluationEntry,
    EvaluationRequest,
    ModelBody,
    PromotionBody,
    PromotionRequest,
    RollbackRequest,
    VersionBody,
    model_body,
    promotion_body,
    version_body,
)
from service.api.multipart import Rules, read_form
from service.api.paging import Cursor, Limit, Page, name_cursor, number_cursor, page
from service.api.problems import Responses, declared
from service.api.version_files import or_html, serve
from service.domain.access import Permission
from service.domain.errors import FieldError, InvalidInput
from service.domain.registry import HEADER_LIMIT_BYTES, NAME_PATTERN, check_safetensors
from service.domain.version_files import Form
from service.usecases import registry
from service.usecases.idempotency import Answer

MAX_WEIGHTS_BYTES = 2 << 30

router = APIRouter(prefix="/models", tags=["models"], route_class=GuardedRoute)
Reader = Annotated[Caller, needs(Permission.MODELS_READ)]
Promoter = Annotated[Caller, needs(Permission.MODELS_PROMOTE)]
Trainer = Annotated[Caller, needs(Permission.TRAIN)]
PaperFormat = Annotated[Literal["json", "html"], Query(alias="format")]
Name = Annotated[str, Path(pattern=NAME_PATTERN)]
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]

_FILE = {"type": "string", "format": "binary"}
_IMPORT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["weights", "spec"],
                    "properties": {
                        "weights": _FILE,
                        "spec": {"type": "string", "contentMediaType": "application/json"},
                    },
                    "additionalProperties": False,
                }
            }
        },
    }
}
_EXPORTED: Responses = {
    200: {
        "description": "The weights, the spec, or what was made of them.",
        "content": {
            "application/octet-stream": {"schema": _FILE},
            "application/json": {"schema": {"type": "object"}},
            "application/zip": {"schema": _FILE},
        },
    }
}


@router.get("", response_model=Page[ModelBody], responses=declared(422))
def list_models(caller: Reader, limit: Limit = 50, cursor: Cursor = None) -> Page[ModelBody]:
    """Models by name, one's own and shared ones, with their versions and aliases."""
    after = name_cursor(cursor)
    with caller.work() as session:
        found = registry.list_models(session, caller.principal, limit=limit + 1, after=after)
    return page(
        found, limit, item=lambda view: model_body(caller.link, view), cursor=lambda view: view.row.name
    )


@router.get("/{name}", response_model=ModelBody, responses=declared(404, 422))
def get_model(name: Name, caller: Reader) -> ModelBody:
    """A model with all its versions, newest first."""
    with caller.work() as session:
        return model_body(caller.link, registry.get_model(session, caller.principal, name))


@router.get("/{name}/versions/{version}", response_model=VersionBody, responses=declared(404, 422))
def get_version(name: Name, version: Version, caller: Reader) -> VersionBody:
    """One version; it never changes."""
    with caller.work() as session:
        return version_body(caller.link, registry.get_version(session, caller.principal, name, version))


@router.get(
    "/{name}/versions/{version}/card",
    response_model=CardBody,
    responses=or_html("The card, as JSON or as a page.") | declared(404, 422),
)
def get_card(name: Name, version: Version, caller: Reader, form: PaperFormat = "json") -> CardBody | Response:
    """The model card: intended use, limitations, calibration, thresholds, origin."""
    if form == "html":
        return serve(caller, name, version, Form.CARD)
    with caller.work() as session:
        row = registry.get_version(session, caller.principal, name, version)
        model = registry.get_model(session, caller.principal, name)
    return CardBody(
        version=version_body(caller.link, row),
        spec=row.spec,
        code_version=row.code_version,
        dataset_id=row.dataset_id,
        job_id=row.job_id,
        aliases=[alias for alias, number in model.aliases.items() if number == row.version],
    )


@router.get(
    "/{name}/versions/{version}/evaluation",
    response_model=EvaluationBody,
    responses=or_html("The measures, as JSON or as a report.") | declared(404, 422),
)
def get_evaluation(
    name: Name,
    version: Version,
    caller: Reader,
    form: PaperFormat = "json",
    evaluation_id: Annotated[
        UUID | None, Query(description="The job of a later evaluation, for its report.")
    ] = None,
) -> EvaluationBody | Response:
    """How well the version did, on what."""
    if form == "html":
        return serve(caller, name, version, Form.REPORT, evaluation_id)
    with caller.work() as session:
        row, later = registry.evaluations(session, caller.principal, name, version)
    return EvaluationBody(
        metrics=row.metrics,
        dataset_fingerprint=row.dataset_fingerprint,
        evaluations=[
            EvaluationEntry(
                job_id=entry.id,
                dataset_id=entry.spec["dataset_id"],
                metrics=entry.body["metrics"],
                finished_at=entry.finished_at,
            )
            for entry in later
        ],
    )


@router.post(
    "/{name}/versions/{version}/evaluation",
    status_code=202,
    response_model=JobBody,
    responses=JOB_DONE | declared(404, 409, 413, 415, 422),
)
async def create_evaluation(
    name: Name,
    version: Version,
    body: EvaluationRequest,
    request: Request,
    caller: Trainer,
    _key: IdempotencyKey = None,
    _prefer: Prefer = None,
) -> Response:
    """Measure the version on a dataset."""
    return await job_answer(
        request,
        caller,
        content=lambda: body.model_dump(mode="json"),
        make=lambda session: registry.evaluate(
            session,
            caller.principal,
            name,
            version,
            dataset_id=body.dataset_id,
            max_queued=caller.context.limits.max_queued_jobs,
        ),
    )


@router.get(
    "/{name}/versions/{version}/export",
    response_class=Response,
    responses=_EXPORTED | declared(404, 422),
)
def export_version(
    name: Name,
    version: Version,
    caller: Reader,
    form: Annotated[
        Literal["safetensors", "spec", "onnx", "monai-bundle"],
        Query(alias="format", description="`import` takes the first two; the others are made by `exports`."),
    ] = "safetensors",
) -> Response:
    """Take a version out: its weights, the spec that belongs to them, or a form for other software."""
    if form in ("onnx", "monai-bundle"):
        return serve(caller, name, version, Form(form))
    with caller.work() as session:
        row = registry.get_version(session, caller.principal, name, version)
    if form == "spec":
        return JSONResponse(row.spec)
    headers = {
        "Content-Disposition": f'attachment; filename="{row.name}-{row.version}.safetensors"',
        "Content-Length": str(row.weights_bytes),
        "ETag": f'"{row.weights_sha256}"',
    }
    chunks = caller.context.objects.open_stream(row.weights_key)
    return StreamingResponse(chunks, media_type="application/octet-stream", headers=headers)


@router.post(
    "/{name}/import",
    status_code=201,
    response_model=VersionBody,
    responses=declared(409, 413, 415, 422),
    openapi_extra=_IMPORT_BODY,
)
async def import_version(
    name: Name, request: Request, caller: Trainer, _key: IdempotencyKey = None
) -> Response:
    """Bring in a version made elsewhere: safetensors and spec. It is nobody's champion until promoted."""
    rules = Rules(
        files="weights",
        fields=frozenset({"spec"}),
        max_body_bytes=MAX_WEIGHTS_BYTES + HEADER_LIMIT_BYTES,
        max_parts=8,
        max_file_bytes=lambda _: MAX_WEIGHTS_BYTES,
    )
    async with uploading(caller) as uploads:
        form = await read_form(request, uploads, rules)
        if len(form.files) != 1:
            raise InvalidInput(
                "Weights are one file.", errors=[FieldError("/weights", "exactly one is needed")]
            )
        spec = bodies.parse_json(form.fields.get("spec", "").encode())
        (weights,) = await run_in_threadpool(uploads.publish)
        head = await run_in_threadpool(
            caller.context.objects.get_range, weights.object_key, offset=0, length=8 + HEADER_LIMIT_BYTES
        )
        check_safetensors(head, weights.size_bytes)

        def make(session: Session) -> Answer:
            row = registry.import_version(session, caller.principal, name, weights=weights, spec=spec)
            uploads.keep()
            made = version_body(caller.link, row)
            return Answer(201, made.model_dump(mode="json"), made.links["self"])

        answer = await once_answered(request, caller, content=lambda: form.sha256([weights]), make=make)
        return respond(answer)


@router.put(
    "/{name}/aliases/{alias}", response_model=PromotionBody, responses=declared(404, 409, 413, 415, 422)
)
def promote(name: Name, alias: Name, body: PromotionRequest, caller: Promoter) -> PromotionBody:
    """Point an alias at a version; `champion` is what is used when nothing else is named.

    A version that is worse than the champion on any label, beyond the interval, does not take its place (409,
    `worse_than_champion`) unless it is forced. The comparison stays with the promotion.
    """
    with caller.work() as session:
        made = registry.promote(
            session,
            caller.principal,
            name,
            alias,
            version=body.version,
            reason=body.reason,
            force=body.force,
        )
    return promotion_body(made)


@router.post(
    "/{name}/aliases/{alias}/rollback",
    response_model=PromotionBody,
    responses=declared(404, 409, 413, 415, 422),
)
async def rollback(
    name: Name,
    alias: Name,
    body: RollbackRequest,
    request: Request,
    caller: Promoter,
    _key: IdempotencyKey = None,
) -> Response:
    """Point an alias at the version it named before; each call goes one step further back."""

    def make(session: Session) -> Answer:
        made = registry.rollback(session, caller.principal, name, alias, reason=body.reason)
        return Answer(200, promotion_body(made).model_dump(mode="json"))

    return respond(await once_answered(request, caller, content=body.model_dump, make=make))


@router.get("/{name}/promotions", response_model=Page[PromotionBody], responses=declared(404, 422))
def list_promotions(
    name: Name, caller: Reader, limit: Limit = 50, cursor: Cursor = None
) -> Page[PromotionBody]:
    """Every move of the model's aliases, newest first."""
    before_id = number_cursor(cursor)
    with caller.work() as session:
        found = registry.promotions(session, caller.principal, name, limit=limit + 1, before_id=before_id)
    return page(found, limit, item=promotion_body, cursor=lambda move: move.id)

"""Files of model versions over HTTP: have one made, and how it is served once it is."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.api.creating import IdempotencyKey, Prefer
from service.api.gate import Caller, GuardedRoute, needs
from service.api.job_bodies import JOB_DONE, JobBody, job_answer
from service.api.problems import Responses, declared
from service.domain.access import Permission
from service.domain.registry import NAME_PATTERN
from service.domain.version_files import MEDIA_TYPES, Form, file_name
from service.usecases import version_files

# The page's own style, nothing else; what it says of itself by a meta element is stricter still.
PAPER_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
AS_HTML = {"content": {"text/html": {"schema": {"type": "string"}}}}

router = APIRouter(prefix="/models", tags=["models"], route_class=GuardedRoute)
Trainer = Annotated[Caller, needs(Permission.TRAIN)]


class ExportRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Form
    evaluation_id: UUID | None = None


@router.post(
    "/{name}/versions/{version}/exports",
    status_code=202,
    response_model=JobBody,
    responses=JOB_DONE | declared(404, 409, 413, 415, 422),
)
async def create_export(
    name: Annotated[str, Path(pattern=NAME_PATTERN)],
    version: Annotated[int, Path(ge=1, le=2**31 - 1)],
    body: ExportRequest,
    request: Request,
    caller: Trainer,
    _key: IdempotencyKey = None,
    _prefer: Prefer = None,
) -> Response:
    """Have a card, report, ONNX file or MONAI bundle made; the GET of that format then serves it."""
    return await job_answer(
        request,
        caller,
        content=lambda: body.model_dump(mode="json"),
        make=lambda session: version_files.have_made(
            session,
            caller.principal,
            name,
            version,
            form=body.format,
            evaluation_id=body.evaluation_id,
            max_queued=caller.context.limits.max_queued_jobs,
        ),
    )


def serve(caller: Caller, name: str, version: int, form: Form, evaluation_id: UUID | None = None) -> Response:
    """The newest file of that form, as it lies in the store."""
    with caller.work() as session:
        row = version_files.made(
            session, caller.principal, name, version, form=form, evaluation_id=evaluation_id
        )
        key, sha256, size_bytes = row.object_key, row.sha256, row.size_bytes
    is_paper = MEDIA_TYPES[form] == "text/html"
    shown = "inline" if is_paper else "attachment"
    headers = {
        "Content-Disposition": f'{shown}; filename="{file_name(name, version, form)}"',
        "Content-Length": str(size_bytes),
        "ETag": f'"{sha256}"',
    }
    if is_paper:
        headers["Content-Security-Policy"] = PAPER_POLICY
    chunks = caller.context.objects.open_stream(key)
    return StreamingResponse(chunks, media_type=MEDIA_TYPES[form], headers=headers)


def or_html(description: str) -> Responses:
    """`responses=` of a route that answers JSON, or the same as a page."""
    return {200: {"description": description, **AS_HTML}}

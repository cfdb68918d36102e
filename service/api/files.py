"""Files: bytes in, by raw body or form, and one's own bytes out again."""

from collections.abc import Iterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.api import bodies
from service.api.creating import IdempotencyKey, once_answered, respond, uploading
from service.api.gate import Caller, GuardedRoute, needs
from service.api.multipart import Rules, read_form
from service.api.problems import content, declared
from service.domain import media
from service.domain.access import Permission
from service.domain.errors import FieldError, InvalidInput, Unsupported
from service.settings import Limits
from service.store.files import FileRow, NewFile
from service.usecases import files
from service.usecases.files import Incoming, Uploads
from service.usecases.idempotency import Answer

_SPILL_BYTES = 1 << 20
_NOT_RAW = ("application/json", "application/x-www-form-urlencoded", "text/", "multipart/")

router = APIRouter(prefix="/files", tags=["files"], route_class=GuardedRoute)
Uploader = Annotated[Caller, needs(Permission.FILES_WRITE)]
Reader = Annotated[Caller, needs(Permission.FILES_READ)]

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": _BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": _BINARY["schema"]},
                    "additionalProperties": False,
                }
            },
        },
    }
}


class FileBody(BaseModel):
    id: UUID
    sha256: str
    size: int
    media_type: str


def file_body(row: FileRow | NewFile) -> FileBody:
    return FileBody(id=row.id, sha256=row.sha256, size=row.size_bytes, media_type=row.media_type)


@router.post(
    "", status_code=201, response_model=FileBody, responses=declared(409, 413, 415, 422), openapi_extra=_BODY
)
async def create_file(request: Request, caller: Uploader, _key: IdempotencyKey = None) -> Response:
    """Store a JPEG, PNG, TIFF, zip or safetensors, told by its first bytes. Large ones come as a raw body."""
    async with uploading(caller) as uploads:
        if bodies.media_type(request) == "multipart/form-data":
            incoming = await _from_form(request, uploads, caller.context.limits)
        else:
            incoming = await _from_body(request, uploads, caller.context.limits)
        files.refuse_unknown(incoming, "/file")

        def make(session: Session) -> Answer:
            stored = files.add(session, caller.principal, incoming.publish())
            uploads.keep()
            return Answer(201, file_body(stored).model_dump(mode="json"), caller.link(f"/files/{stored.id}"))

        return respond(
            await once_answered(request, caller, content=lambda: incoming.publish().sha256, make=make)
        )


@router.get("/{file_id}", response_model=FileBody, responses=declared(404, 422))
def get_file(file_id: UUID, caller: Reader) -> FileBody:
    """What is known of one's own file."""
    with caller.work() as session:
        return file_body(files.get(session, caller.principal, file_id))


@router.get(
    "/{file_id}/content",
    response_class=StreamingResponse,
    responses=content("application/octet-stream", description="The bytes.") | declared(404, 422),
)
def get_content(file_id: UUID, caller: Reader) -> Response:
    """The bytes of one's own file, as a download that no browser runs or shows."""
    with caller.work() as session:
        row = files.open_content(session, caller.principal, file_id)
    headers = {
        "Content-Disposition": "attachment",
        "Content-Length": str(row.size_bytes),
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "ETag": f'"{row.sha256}"',
    }
    chunks: Iterator[bytes] = caller.context.objects.open_stream(row.object_key)
    return StreamingResponse(chunks, media_type="application/octet-stream", headers=headers)


async def _from_body(request: Request, uploads: Uploads, limits: Limits) -> Incoming:
    declared_type = bodies.media_type(request)
    if declared_type.startswith(_NOT_RAW):
        raise Unsupported("Send the file's bytes as they are, or a form with the part `file`.")
    incoming = uploads.open()
    async for chunk in bodies.stream(request, max_bytes=limits.max_file_bytes):
        incoming.take(chunk)
        # Told by its first bytes, so that nobody sends gigabytes in vain.
        if len(incoming.head) == media.HEAD_BYTES:
            files.refuse_unknown(incoming, "/file")
        if incoming.buffered_bytes >= _SPILL_BYTES:
            await run_in_threadpool(incoming.spill)
    return incoming


async def _from_form(request: Request, uploads: Uploads, limits: Limits) -> Incoming:
    rules = Rules(
        files="file",
        fields=frozenset(),
        max_body_bytes=limits.max_multipart_bytes,
        max_parts=8,
        max_file_bytes=lambda _: limits.max_multipart_bytes,
    )
    form = await read_form(request, uploads, rules)
    if len(form.files) != 1:
        raise InvalidInput("Send one file.", errors=[FieldError("/file", "exactly one is needed")])
    return form.files[0].file

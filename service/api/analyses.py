"""Analyses: frames in, findings and heat maps out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from service.api import bodies, overlays
from service.api.creating import IdempotencyKey, Prefer, uploading
from service.api.frame_bodies import FrameBody, ModelRefBody, frame_body, model_ref
from service.api.gate import Caller, GuardedRoute, needs
from service.api.job_bodies import JOB_DONE, JobBody, job_answer, job_body
from service.api.links import Link
from service.api.multipart import Form, Rules, read_form
from service.api.paging import Cursor, Limit, Page, number_cursor, page
from service.api.problems import content, declared, parsed
from service.domain import media
from service.domain.access import Permission
from service.domain.registry import REFERENCE_PATTERN
from service.settings import Limits
from service.usecases import analyses, files
from service.usecases.analyses import AnalysisView, Part
from service.usecases.jobs import JobView

router = APIRouter(prefix="/analyses", tags=["analyses"], route_class=GuardedRoute)
Writer = Annotated[Caller, needs(Permission.FRAMES_WRITE)]
Reader = Annotated[Caller, needs(Permission.FRAMES_READ)]
Ordinal = Annotated[int, Path(ge=0, le=2**31 - 1)]

# What a browser may do with a picture opened by itself: nothing.
_PICTURE_HEADERS = {"Content-Security-Policy": "default-src 'none'; sandbox", "Content-Disposition": "inline"}


class StoredFramesRequest(BaseModel):
    """Frames that were sent before, by POST /files."""

    model_config = ConfigDict(extra="forbid")

    file_ids: list[UUID] = Field(min_length=1, max_length=1_000)
    model: str | None = Field(default=None, pattern=REFERENCE_PATTERN)
    operating_point: str | None = Field(default=None, max_length=63)


_FORM = {
    "type": "object",
    "required": ["frames"],
    "properties": {
        "frames": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1},
        # A form cannot say null: an empty field is one that was not filled in.
        "model": {"type": "string", "pattern": f"^$|{REFERENCE_PATTERN}"},
        "operating_point": {"type": "string", "maxLength": 63},
    },
    "additionalProperties": False,
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "application/json": {"schema": StoredFramesRequest.model_json_schema()},
        },
    }
}


class CountsBody(BaseModel):
    frames: int
    unreadable: int
    positives: dict[str, int]


class EngineBody(BaseModel):
    """What the bits of an answer depend on beside the version: a replay on the same gives the same."""

    engine: str
    dtype: str
    device: str
    processor: str
    threads: int
    build: str


class AnalysisBody(BaseModel):
    id: UUID
    job: JobBody
    model: ModelRefBody
    engines: list[EngineBody]
    operating_point: str
    created_at: datetime
    frame_count: int
    counts: CountsBody
    links: dict[str, str]


@router.post(
    "",
    status_code=202,
    response_model=JobBody,
    responses=JOB_DONE | declared(409, 413, 415, 422),
    openapi_extra=_BODY,
)
async def create_analysis(
    request: Request, caller: Writer, _key: IdempotencyKey = None, _prefer: Prefer = None
) -> Response:
    """Send frames (JPEG, PNG, TIFF or zips of them) to be read by a model.

    If none is named, `lesion-detector@champion` reads, or `starter-detector@champion` where there is no such.

    A frame that cannot be read fails alone, in the result. Up to 16 images are read at once, more in blocks.
    """
    if bodies.media_type(request) == "application/json":
        return await _analyse_stored(request, caller)
    async with uploading(caller) as uploads:
        form = await read_form(request, uploads, _rules(caller.context.limits))
        asked = _asked(form)

        def make(session: Session) -> JobView:
            files = zip(form.files, uploads.publish(), strict=True)
            parts = [Part(new, part.name) for part, new in files]
            submitted = _submit(session, caller, parts, asked)
            uploads.keep()
            return submitted

        return await job_answer(request, caller, content=lambda: form.sha256(uploads.publish()), make=make)


@router.get("/{analysis_id}", response_model=AnalysisBody, responses=declared(404, 422))
def get_analysis(analysis_id: UUID, caller: Reader) -> AnalysisBody:
    """An analysis: its job, its model, and how much was found so far."""
    with caller.work() as session:
        return _analysis_body(caller.link, analyses.get(session, caller.principal, analysis_id))


@router.get("/{analysis_id}/frames", response_model=Page[FrameBody], responses=declared(404, 422))
def list_frames(
    analysis_id: UUID, caller: Reader, limit: Limit = 50, cursor: Cursor = None
) -> Page[FrameBody]:
    """Frames in the order of upload, each with its findings; more appear while the job runs."""
    after = number_cursor(cursor)
    with caller.work() as session:
        found = analyses.frames(session, caller.principal, analysis_id, limit=limit + 1, after=after)
    return page(
        found,
        limit,
        item=lambda view: frame_body(caller.link, analysis_id, view),
        cursor=lambda view: view.frame.ordinal,
    )


@router.get(
    "/{analysis_id}/frames/{ordinal}/image",
    response_class=Response,
    responses=content("image/jpeg", "image/png", description="The frame.") | declared(404, 422),
)
def get_image(analysis_id: UUID, ordinal: Ordinal, caller: Reader) -> Response:
    """The frame as it was sent; a TIFF as the PNG that was made of it."""
    with caller.work() as session:
        stored = analyses.image(session, caller.principal, analysis_id, ordinal)
    data = caller.context.objects.get_range(stored.object_key, offset=stored.offset, length=stored.length)
    # Told by the bytes: what is neither JPEG nor PNG is no picture for a browser.
    kind = media.sniff(data[: media.HEAD_BYTES])
    shown = kind if kind in ("image/jpeg", "image/png") else media.UNKNOWN
    return Response(data, media_type=shown, headers=_PICTURE_HEADERS)


@router.get(
    "/{analysis_id}/frames/{ordinal}/overlay",
    response_class=Response,
    responses=content("image/png", description="The heat map.") | declared(404, 422),
)
def get_overlay(
    analysis_id: UUID,
    ordinal: Ordinal,
    caller: Reader,
    label: Annotated[str, Query(min_length=1, max_length=100)],
) -> Response:
    """Where the model looked for a label: a transparent PNG of the frame's size.

    The colour is the evidence density in log-odds per 1 % of the frame, on a ramp that is 0 to 0.5 for every
    frame and version; nothing is drawn where a whole frame of it would stay below the finding's threshold.
    """
    bodies.check_text(label, "/query/label")
    with caller.work() as session:
        found = analyses.overlay(session, caller.principal, analysis_id, ordinal, label)
    data = overlays.draw(found.heat, width_px=found.width_px, height_px=found.height_px)
    return Response(data, media_type="image/png", headers=_PICTURE_HEADERS)


async def _analyse_stored(request: Request, caller: Caller) -> Response:
    body = parsed(StoredFramesRequest, await request.json())

    def make(session: Session) -> JobView:
        rows = files.named_in_body(session, caller.principal, body.file_ids, "/file_ids/{}")
        # Names were not kept with the files, for they identify people often enough.
        parts = [Part(row, f"frame-{number}") for number, row in enumerate(rows)]
        asked = _Asked(body.model, body.operating_point)
        return _submit(session, caller, parts, asked)

    return await job_answer(request, caller, content=lambda: body.model_dump(mode="json"), make=make)


@dataclass(frozen=True)
class _Asked:
    model: str | None
    operating_point: str | None


def _submit(session: Session, caller: Caller, parts: Sequence[Part], asked: _Asked) -> JobView:
    with caller.context.quota.submitting(caller.principal.tenant_id) as max_queued:
        return analyses.submit(
            session,
            caller.principal,
            parts=parts,
            model=asked.model,
            operating_point=asked.operating_point,
            max_queued=max_queued,
        ).job


def _asked(form: Form) -> _Asked:
    return _Asked(form.fields.get("model") or None, form.fields.get("operating_point") or None)


def _rules(limits: Limits) -> Rules:
    return Rules(
        files="frames",
        fields=frozenset({"model", "operating_point"}),
        max_body_bytes=limits.max_multipart_bytes,
        max_parts=limits.max_multipart_parts,
        max_file_bytes=lambda kind: (
            limits.max_multipart_bytes if kind == media.ARCHIVE else limits.max_frame_bytes
        ),
    )


def _analysis_body(link: Link, view: AnalysisView) -> AnalysisBody:
    row = view.row
    own = link(f"/analyses/{row.id}")
    return AnalysisBody(
        id=row.id,
        job=job_body(link, view.job),
        model=model_ref(row),
        engines=[EngineBody.model_validate(engine) for engine in view.engines],
        operating_point=row.operating_point,
        created_at=row.created_at,
        frame_count=max(view.input_count, view.counts["frames"]),
        counts=CountsBody.model_validate(view.counts),
        links={
            "self": own,
            "frames": f"{own}/frames",
            "replay": f"{own}/replay",
            "job": link(f"/jobs/{view.job.id}"),
        },
    )

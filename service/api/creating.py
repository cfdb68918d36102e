"""Answering requests that make something: once per Idempotency-Key, on wish when the job has ended."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from fastapi import Header
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from service.api.gate import Caller
from service.usecases.files import Uploads
from service.usecases.idempotency import Answer, once

MAX_WAIT_S = 60

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]( *[!-~])*$",
        description=(
            "Same key and content: same answer, made once. Same key, other content: 409. Kept for a day."
        ),
    ),
]
Prefer = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description=f"`wait=N` holds the answer up to N <= {MAX_WAIT_S} seconds for the job's end.",
    ),
]


async def once_answered(
    request: Request, caller: Caller, *, content: Callable[[], Any], make: Callable[[Session], Answer]
) -> Answer:
    """Run `make` in one transaction, or repeat its answer. `content` is what makes requests equal.

    Both run in one thread, `content` before the transaction begins: it may store files.
    """
    key = request.headers.get("idempotency-key")  # its form was checked with the route's parameters
    place = [request.method, request.url.path, request.url.query]

    def act() -> Answer:
        sent = json.dumps([*place, content()], sort_keys=True)
        digest = hashlib.sha256(sent.encode()).hexdigest()
        with caller.work() as session:
            return once(session, caller.principal, key=key, request_sha256=digest, make=lambda: make(session))

    return await run_in_threadpool(act)


def respond(answer: Answer) -> JSONResponse:
    headers = {} if answer.location is None else {"Location": answer.location}
    return JSONResponse(answer.body, status_code=answer.status, headers=headers)


@asynccontextmanager
async def uploading(caller: Caller) -> AsyncIterator[Uploads]:
    """Uploads that leave nothing behind unless the request comes to `keep`."""
    uploads = Uploads(caller.context.objects, caller.principal)
    try:
        yield uploads
    finally:
        if uploads.has_remains:
            # Also when the server stops in the middle: what nobody names must not stay.
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(uploads.discard)


def wait_s(request: Request) -> int:
    """Seconds of `Prefer: wait=N`; a preference that cannot be read is no preference (RFC 7240)."""
    found = re.search(r"(?:^|[,;\s])wait=(\d{1,9})", request.headers.get("prefer", ""))
    return min(int(found[1]), MAX_WAIT_S) if found else 0

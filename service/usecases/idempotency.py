"""Doing a creating request once, however often it is sent under one key."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.domain.errors import DuplicateSubmission
from service.store import idempotency as store
from service.store.tables.base import Json


@dataclass(frozen=True)
class Answer:
    """What the request is answered, now and again. `secret` is shown once and not kept."""

    status: int
    body: Json
    location: str | None = None
    secret: bool = False


def once(
    session: Session,
    principal: Principal,
    *,
    key: str | None,
    request_sha256: str,
    make: Callable[[], Answer],
) -> Answer:
    """Makes the answer, or repeats the one that was given under the key for an equal request.

    Simultaneous requests wait for the first on the row's unique key; if that fails, the next one makes it.
    """
    if key is None:
        return make()
    if not store.claim(session, principal.tenant_id, principal.id, key=key, request_sha256=request_sha256):
        return _repeat(store.find(session, principal.id, key=key), request_sha256)
    answer = make()
    body = None if answer.secret else answer.body
    store.answer(session, principal.id, key=key, status=answer.status, location=answer.location, body=body)
    return answer


def _repeat(earlier: store.Earlier, request_sha256: str) -> Answer:
    if earlier.request_sha256 != request_sha256:
        raise DuplicateSubmission("The key belongs to a request with other content.")
    if earlier.body is None or earlier.status is None:
        raise DuplicateSubmission("The answer held a secret, which is shown once.", code="shown_once")
    return Answer(earlier.status, earlier.body, earlier.location)

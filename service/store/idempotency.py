"""Answers of creating requests by their idempotency key."""

from dataclasses import dataclass
from typing import cast
from uuid import UUID

from sqlalchemy import Table, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from service.store.tables.access import Idempotency
from service.store.tables.base import Json

# Core inserts: fewer steps than the ORM's on the hot path.
_IDEMPOTENCY = cast(Table, Idempotency.__table__)


@dataclass(frozen=True)
class Earlier:
    """A request that came before under the same key, and its answer."""

    request_sha256: str
    status: int | None
    location: str | None
    body: Json | None


def claim(session: Session, tenant_id: UUID, principal_id: UUID, *, key: str, request_sha256: str) -> bool:
    """Whether the key is new; waits for a request of the same key that is not yet committed."""
    row = {"tenant_id": tenant_id, "principal_id": principal_id, "key": key, "request_sha256": request_sha256}
    statement = insert(_IDEMPOTENCY).on_conflict_do_nothing().returning(Idempotency.key)
    return session.execute(statement, row).one_or_none() is not None


def find(session: Session, principal_id: UUID, *, key: str) -> Earlier:
    row = session.execute(
        select(Idempotency.request_sha256, Idempotency.status, Idempotency.location, Idempotency.body).where(
            Idempotency.principal_id == principal_id, Idempotency.key == key
        )
    ).one()
    return Earlier(*row)


def answer(
    session: Session, principal_id: UUID, *, key: str, status: int, location: str | None, body: Json | None
) -> None:
    session.execute(
        update(Idempotency)
        .where(Idempotency.principal_id == principal_id, Idempotency.key == key)
        .values(status=status, location=location, body=body)
    )

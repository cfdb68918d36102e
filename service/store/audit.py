"""The audit trail: one row per state change and per look at patients' data, in its transaction."""

from collections.abc import Sequence
from enum import StrEnum
from typing import cast
from uuid import UUID

from sqlalchemy import Table, Uuid, func, insert, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.store.tables.access import AuditEvent

_TABLE = cast(Table, AuditEvent.__table__)


class Action(StrEnum):
    """Those of FHIR AuditEvent.action that occur here."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"


# The tenant is the transaction's own: a row can be written for no other.
_INSERT = insert(_TABLE).values(tenant_id=sql_cast(func.current_setting("app.tenant"), Uuid), outcome=0)


def record(
    session: Session,
    actor: Principal | None,
    *,
    action: Action,
    operation: str,
    object_type: str,
    object_id: UUID | None = None,
) -> None:
    """`operation` is a fixed word of ours, e.g. `analyses.create`; no actor means the command line."""
    row = {"action": action.value, "operation": operation, "object_type": object_type}
    who = None if actor is None else actor.id
    session.execute(_INSERT, row | {"principal_id": who, "object_id": object_id})


def page(session: Session, *, limit: int, before_id: int | None) -> Sequence[AuditEvent]:
    """Newest first."""
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(AuditEvent.id < before_id)
    return session.execute(query).scalars().all()

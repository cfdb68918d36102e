"""Reading the audit trail, which is itself on record."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.store import audit as store
from service.store.tables.access import AuditEvent


def page(
    session: Session, principal: Principal, *, limit: int, before_id: int | None
) -> Sequence[AuditEvent]:
    """The tenant's trail, newest first; the record of this very look comes with the next one."""
    found = store.page(session, limit=limit, before_id=before_id)
    store.record(
        session, principal, action=store.Action.READ, operation="audit.read", object_type="audit_event"
    )
    return found

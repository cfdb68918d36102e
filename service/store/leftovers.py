"""What nobody needs any more, over all tenants: by functions of the owner's, which tell no row's content."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

TENANTS = text("SELECT id FROM tenant ORDER BY id")
FORGET_ANSWERS = text("SELECT forget_answers(:older_than, :at_most)")
ORPHANS = text("SELECT orphaned_objects(CAST(:keys AS text[]))")


def tenants(session: Session) -> list[UUID]:
    return list(session.scalars(TENANTS))


def forget_answers(session: Session, *, older_than: timedelta, at_most: int) -> int:
    """Drop the answers kept under idempotency keys; returns how many."""
    values = {"older_than": older_than, "at_most": at_most}
    return int(session.execute(FORGET_ANSWERS, values).scalar_one())


def orphans(session: Session, keys: Sequence[str]) -> list[str]:
    """Those of the keys that no row names, nor a job that has not ended may still name."""
    return list(session.scalars(ORPHANS, {"keys": list(keys)}))

"""Whether the database is there and has a schema."""

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

REVISION = text("SELECT version_num FROM alembic_version")


def revision(session: Session) -> str | None:
    """The migration the database stands at; None before the first."""
    try:
        return session.execute(REVISION).scalar_one_or_none()
    except ProgrammingError:  # no such table, or not for us: nobody has migrated
        return None

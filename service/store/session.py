"""Connections and the one place that commits.

Every transaction names its tenant for row-level security: without one, a read of a tenant's table raises.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from service.domain.errors import Unavailable

# Foreign keys are resolved over all tables: a process that knows only some of them cannot insert.
from service.store.tables import access, analyses, datasets, files, jobs, registry  # noqa: F401

SET_CONTEXT = text(
    "SELECT set_config('app.tenant', :tenant, true), set_config('app.principal', :principal, true)"
)
# SQLSTATE classes that mean "the server is away or restarting", not "the statement is wrong".
AWAY = ("08", "53", "57P", "55P03", "25P03", "58")


def connect(url: str, *, password_file: Path | None = None, pool_size: int = 5, application: str) -> Engine:
    """Makes an engine; the password is read at each connect, so that rotating it needs no restart."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=2,
        connect_args={
            "application_name": application,
            "connect_timeout": 2,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )
    if password_file is not None:
        path = password_file

        @event.listens_for(engine, "do_connect")
        def read_password(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
            parameters["password"] = path.read_text().strip()

    return engine


@contextmanager
def unit_of_work(
    engine: Engine, *, tenant_id: UUID | None, principal_id: UUID | None = None
) -> Iterator[Session]:
    """One transaction: commits when the block ends well, rolls back otherwise.

    `tenant_id=None` is for the dispatcher, the worker's claim and the key look-up: they see no tenant's rows.
    """
    try:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            if tenant_id is not None:
                set_context(session, tenant_id, principal_id)
            yield session
    except (OperationalError, InterfaceError, PoolTimeout) as problem:
        if is_away(problem):
            raise Unavailable(
                "The database is not reachable just now.", code="database_unavailable"
            ) from problem
        raise


def set_context(session: Session, tenant_id: UUID, principal_id: UUID | None) -> None:
    """Whose rows the transaction sees, and who the trail says it was."""
    session.execute(SET_CONTEXT, {"tenant": str(tenant_id), "principal": str(principal_id or "")})


def is_away(problem: Exception) -> bool:
    """Whether trying again later makes sense."""
    if not isinstance(problem, DBAPIError):
        return isinstance(problem, PoolTimeout)
    state = getattr(problem.orig, "sqlstate", None)
    return state is None or state.startswith(AWAY) or problem.connection_invalidated

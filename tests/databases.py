"""Fixtures of the embedded servers: one pair per run, and databases cloned from a migrated template.

`db` is a session whose work is undone after each test; `committed_db` is a database of the test's own, for
tests that need real commits and several connections; `own_servers` may be stopped and killed.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, insert
from sqlalchemy.orm import Session

from service.domain.access import Principal, Role
from service.domain.ids import DEFAULT_TENANT_ID, new_id
from service.embedded import Embedded
from service.store.session import SET_CONTEXT, connect, unit_of_work
from service.store.tables.access import PrincipalRow, Tenant

_numbers = itertools.count()


@dataclass
class Database:
    """One database of the test servers, reached as any of the application's roles."""

    servers: Embedded
    name: str
    _engines: dict[str, Engine] = field(default_factory=dict)

    def url(self, role: str | None = None) -> str:
        return self.servers.database_url(role, database=self.name)

    def engine(self, role: str) -> Engine:
        """One engine per role; a role is `api`, `worker`, `dispatcher`, `auditor` or `owner`."""
        if role not in self._engines:
            secret = self.servers.password_file(role)
            self._engines[role] = connect(self.url(role), password_file=secret, application=f"test-{role}")
        return self._engines[role]

    def new_tenant(self) -> UUID:
        tenant_id = new_id()
        with unit_of_work(self.engine("owner"), tenant_id=tenant_id) as session:
            session.execute(insert(Tenant), {"id": tenant_id, "name": str(tenant_id)})
        return tenant_id

    def new_principal(
        self, *, tenant_id: UUID = DEFAULT_TENANT_ID, roles: Iterable[Role] = tuple(Role)
    ) -> Principal:
        principal = Principal(id=new_id(), tenant_id=tenant_id, roles=frozenset(roles))
        with unit_of_work(self.engine("api"), tenant_id=tenant_id) as session:
            add_principal(session, principal)
        return principal

    def dispose(self) -> None:
        for engine in self._engines.values():
            engine.dispose()


def add_principal(session: Session, principal: Principal) -> None:
    row = {"id": principal.id, "tenant_id": principal.tenant_id, "name": f"test {principal.id}"}
    session.execute(insert(PrincipalRow), row)


def _as_superuser(servers: Embedded, statement: sql.Composed) -> None:
    options = {
        "host": str(servers.postgres.sockets),
        "user": "postgres",
        "dbname": "postgres",
        "password": servers.postgres.superuser_password_file.read_text(),
    }
    with psycopg.connect(**options, autocommit=True) as connection:
        connection.execute(statement)


def cloned(servers: Embedded) -> Iterator[Database]:
    """A copy of the migrated, empty database, dropped at the end."""
    database = Database(servers, f"clone_{next(_numbers)}")
    name = sql.Identifier(database.name)
    create = sql.SQL("CREATE DATABASE {} TEMPLATE enteron OWNER enteron_owner").format(name)
    _as_superuser(servers, create)
    yield database
    database.dispose()
    _as_superuser(servers, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _running(factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    servers = Embedded(factory.mktemp("home"))
    servers.start()
    try:
        servers.prepare_database()
        yield servers
    finally:
        servers.kill()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """PostgreSQL and Redis shared by the whole run: never stop them, never touch database `enteron`."""
    yield from _running(tmp_path_factory)


@pytest.fixture(scope="module")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A pair of servers for one module that stops, kills or floods them."""
    yield from _running(tmp_path_factory)


@pytest.fixture(scope="session")
def database(servers: Embedded) -> Iterator[Database]:
    """The database in which `db` works; nothing is ever committed to it."""
    yield from cloned(servers)


@pytest.fixture
def committed_db(servers: Embedded) -> Iterator[Database]:
    """A fresh migrated database for one test."""
    yield from cloned(servers)


@pytest.fixture
def db(database: Database) -> Iterator[Session]:
    """Session of the role `api` in the default tenant; whatever the test commits is rolled back."""
    with database.engine("api").connect() as connection, connection.begin() as outer:
        connection.execute(SET_CONTEXT, {"tenant": str(DEFAULT_TENANT_ID), "principal": ""})
        with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            yield session
        outer.rollback()


@pytest.fixture
def principal(db: Session) -> Principal:
    """A person of the default tenant with every role, known to `db`."""
    person = Principal(id=new_id(), tenant_id=DEFAULT_TENANT_ID, roles=frozenset(Role))
    add_principal(db, person)
    db.execute(SET_CONTEXT, {"tenant": str(person.tenant_id), "principal": str(person.id)})
    return person

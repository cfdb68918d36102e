"""What a superuser does once before the migrations: roles, database, extension. Safe to repeat."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.engine import URL

DATABASE = "enteron"
ROLES = ("owner", "api", "worker", "dispatcher", "auditor")

# (lock_timeout, statement_timeout, idle_in_transaction_session_timeout): waiting is bounded where a person
# waits, and looser for a worker's blocks and the auditor's sweeps; migrations set their own.
_TIMEOUTS = {
    "owner": ("10s", "0", "60s"),
    "api": ("3s", "10s", "15s"),
    "worker": ("3s", "60s", "15s"),
    "dispatcher": ("3s", "10s", "15s"),
    "auditor": ("3s", "60s", "15s"),
}
_TIMEOUT_NAMES = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")

_LOCK_KEY = 0x656E7465726F6E  # "enteron"
_MIGRATIONS = Path(__file__).parents[2] / "migrations"

# Tables of its own or a way to become their owner also free a role from row-level security.
_UNSAFE_ROLE = text("""
SELECT rolname,
       rolsuper AS superuser,
       rolbypassrls AS bypassrls,
       rolcreaterole AS createrole,
       EXISTS (SELECT FROM pg_database d WHERE d.datname = current_database()
               AND pg_has_role(current_user, d.datdba, 'MEMBER')) AS owner,
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'public' AND pg_has_role(current_user, c.relowner, 'MEMBER')) AS table_owner
FROM pg_roles WHERE rolname = current_user
""")


class UnsafeRoleError(RuntimeError):
    """The database role could pass row-level security: nothing may start with it."""


def role_name(role: str) -> str:
    """PostgreSQL's name of one of `ROLES`: roles are shared by all databases of a server."""
    return f"enteron_{role}"


def bootstrap(superuser: URL, passwords: Mapping[str, str], *, database: str = DATABASE) -> None:
    """Bring roles, database, extension and privileges to the wanted state; `passwords` names every role."""
    missing = set(ROLES) - set(passwords)
    if missing:
        raise ValueError(f"no password for {sorted(missing)}")
    with closing(_connect(superuser)) as server:
        # Held to the end of the connection, over CREATE DATABASE too, which no transaction may contain.
        server.execute("SELECT pg_advisory_lock(%s)", [_LOCK_KEY])
        for role in ROLES:
            _ensure_role(server, role, password=passwords[role])
        _ensure_database(server, database)
        with closing(_connect(superuser.set(database=database))) as connection, connection.transaction():
            _ensure_privileges(connection, database)


def migrate(owner: Engine, revision: str = "head") -> None:
    """Upgrade the schema, as its owner; a second caller waits and finds nothing to do."""
    # API and dispatcher need only the names of the roles; Alembic would cost each of them memory.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    # The lock has a connection of its own, outside any transaction, so that a revision may choose its own.
    with (
        owner.connect().execution_options(isolation_level="AUTOCOMMIT") as guard,
        owner.connect() as connection,
    ):
        guard.execute(select(func.pg_advisory_lock(_LOCK_KEY)))
        try:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        finally:
            guard.execute(select(func.pg_advisory_unlock(_LOCK_KEY)))


def check_role_is_safe(connection: Connection) -> None:
    """Refuse a role that row-level security does not bind."""
    row = connection.execute(_UNSAFE_ROLE).mappings().one()
    reasons = [name for name in ("superuser", "bypassrls", "createrole", "owner", "table_owner") if row[name]]
    if reasons:
        raise UnsafeRoleError(f"database role {row['rolname']} is unsafe: {', '.join(reasons)}")


def _connect(url: URL) -> psycopg.Connection:
    # Not as a URI: libpq does not read a URL's `+` as the space that SQLAlchemy means by it.
    _, parameters = url.get_dialect()().create_connect_args(url)
    return psycopg.connect(**parameters, autocommit=True)


def _ensure_role(server: psycopg.Connection, role: str, *, password: str) -> None:
    name = role_name(role)
    if not _exists(server, "SELECT FROM pg_roles WHERE rolname = %s", name):
        server.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
    # Hashed here, so that no statement text and no log ever holds the password.
    verifier = server.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    server.execute(sql.SQL(_ALTER_ROLE).format(sql.Identifier(name), sql.Literal(verifier)))
    for setting, value in zip(_TIMEOUT_NAMES, _TIMEOUTS[role], strict=True):
        server.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)
            )
        )


def _ensure_database(server: psycopg.Connection, database: str) -> None:
    if not _exists(server, "SELECT FROM pg_database WHERE datname = %s", database):
        server.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(database), sql.Identifier(role_name("owner"))
            )
        )


def _ensure_privileges(connection: psycopg.Connection, database: str) -> None:
    names = {
        "database": sql.Identifier(database),
        "owner": sql.Identifier(role_name("owner")),
        "roles": sql.SQL(", ").join(sql.Identifier(role_name(role)) for role in ROLES),
    }
    for statement in _PRIVILEGES:
        connection.execute(sql.SQL(statement).format(**names))


_ALTER_ROLE: LiteralString = (
    "ALTER ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {}"
)
_PRIVILEGES: tuple[LiteralString, ...] = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
    "GRANT CONNECT ON DATABASE {database} TO {roles}",
    "ALTER SCHEMA public OWNER TO {owner}",
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "GRANT USAGE ON SCHEMA public TO {roles}",
)


def _exists(connection: psycopg.Connection, query: LiteralString, name: str) -> bool:
    return connection.execute(query, [name]).fetchone() is not None

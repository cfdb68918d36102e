"""What containers run, one part per command: api, dispatcher, worker, bootstrap, migrate."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.problems import USAGE, Complaint
from service.commands.terminal import JsonFlag, Terminal

if TYPE_CHECKING:
    from service.settings import Settings


def settings() -> "Settings":
    """The settings of this process, or a complaint that names what is wrong in them."""
    from pydantic import ValidationError

    from service.settings import PREFIX, load

    try:
        return load()
    except ValidationError as problem:
        # Names and reasons only: a value may be a secret.
        wrong = "; ".join(f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in problem.errors())
        raise Complaint(wrong, "Correct these variables.", exit_code=USAGE) from None


def api(
    fd: Annotated[
        int | None, typer.Option(hidden=True, help="A listening socket that `enteron up` opened.")
    ] = None,
) -> None:
    """Answer HTTP."""
    import socket

    from service.api import server
    from service.settings import load_limits

    listening = None if fd is None else socket.socket(fileno=fd)
    server.run(settings(), load_limits(), listening=listening)


def dispatcher() -> None:
    """Send due jobs to the workers, and put back those of dead ones."""
    from service import dispatch

    settings()
    sys.exit(dispatch.main())


def worker(
    queues: Annotated[str | None, typer.Option(help="Comma-separated; all if not given.")] = None,
) -> None:
    """Take work from queues and do it; SIGTERM puts unfinished jobs back."""
    used = settings()
    # The worker's code is no import of ours: this process becomes it.
    os.execv(sys.executable, [sys.executable, "-m", "workers", "--queues", queues or used.worker_queues])  # noqa: S606 - our own module, no shell


def bootstrap(
    superuser: Annotated[str, typer.Option(help="Whose password ENTERON_DATABASE_PASSWORD_FILE holds.")] = (
        "postgres"
    ),
    json_: JsonFlag = False,
) -> None:
    """Make roles, database and extension, as the superuser, before `migrate`. Safe to repeat."""
    from sqlalchemy.engine import make_url

    from service.store.bootstrap import DATABASE
    from service.store.bootstrap import bootstrap as prepare

    used = settings()
    passwords = role_passwords(used.role_passwords_dir)
    if used.database_url is None:
        raise Complaint(
            "ENTERON_DATABASE_URL is not set.", "Set it to the server's address.", exit_code=USAGE
        )
    url = make_url(used.database_url).set(username=superuser)
    if used.database_password_file:
        url = url.set(password=used.database_password_file.read_text().strip())
    database = url.database or DATABASE
    with _reachable():
        prepare(url.set(database="postgres"), passwords, database=database)
    Terminal(json=json_).result({"database": database}, f"Roles and database {database} are ready.")


@contextmanager
def _reachable() -> Iterator[None]:
    """A server that is away is no mistake of ours; its own words may name hosts and users."""
    import psycopg
    from sqlalchemy.exc import OperationalError

    from service.domain.errors import Unavailable

    try:
        yield
    except (psycopg.OperationalError, OperationalError) as problem:
        raise Unavailable("The database does not answer, or refuses user and password.") from problem


def role_passwords(folder: Path | None) -> dict[str, str]:
    from service.store.bootstrap import ROLES

    if folder is None:
        raise Complaint(
            "ENTERON_ROLE_PASSWORDS_DIR is not set.",
            f"Set it to a folder with the files {', '.join(f'{role}_password' for role in ROLES)}.",
            exit_code=USAGE,
        )
    files = {role: folder / f"{role}_password" for role in ROLES}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        raise Complaint(
            f"Password files are missing: {', '.join(missing)}.",
            "Put them into the folder that ENTERON_ROLE_PASSWORDS_DIR names.",
            exit_code=USAGE,
        )
    return {role: file.read_text().strip() for role, file in files.items()}


def migrate(
    revision: Annotated[str, typer.Option(help="Up to which revision.")] = "head", json_: JsonFlag = False
) -> None:
    """Bring the schema up to date, as its owner. Safe to repeat."""
    from service.connections import engine
    from service.store.bootstrap import migrate as upgrade

    owner = engine(settings(), "owner")
    try:
        with _reachable():
            upgrade(owner, revision)
    finally:
        owner.dispose()
    Terminal(json=json_).result({"revision": revision}, "The schema is up to date.")

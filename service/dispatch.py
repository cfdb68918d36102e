"""The dispatcher: the only producer of messages, and the reaper of silent workers. Several copies may run.

Each round stamps due rows, commits, and only then publishes: a message sent under row locks would wake a
claim that skips the locked row. A thread for each kind of round, so that a hanging broker never keeps the
reaper from its work, nor a slow object store either of them.
"""

import random
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, Protocol

import structlog
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from service import broker, connections, logs, settings
from service.domain.errors import ServiceError, Unavailable
from service.domain.jobs import TASKS, Queue, Timers
from service.housekeeping import Housekeeper
from service.store import due, workers
from service.store.due import Due
from service.store.session import unit_of_work

log = structlog.get_logger()

# Without a live worker a few messages wait in the queue for the first one.
SMALLEST_WINDOW = 2
ERRORS = (KombuError, RedisError, OSError)
FORGET_WORKERS_AFTER_S = 86_400.0
FIRST_HOUSEKEEPING_S = 60.0  # one that is restarted every half hour keeps house all the same


class Publisher(Protocol):
    """Sends wake-ups; `backlog` is how many lie unread."""

    def backlog(self, queue: str) -> int: ...

    def send(self, jobs: Sequence[Due]) -> list[Due]:
        """Returns those that could not be sent."""
        ...


class CeleryPublisher:
    """One connection, made when first needed and dropped at the first error."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection = app.connection_for_write()
        self._producer: Any = None

    def backlog(self, queue: str) -> int:
        try:
            size: int = self._connection.default_channel.client.llen(queue)
        except ERRORS:
            self._reset()
            raise
        return size

    def send(self, jobs: Sequence[Due]) -> list[Due]:
        for index, job in enumerate(jobs):
            try:
                self._publish(job)
            except ERRORS as problem:
                log.warning("publish_failed", exception=type(problem).__name__, jobs=len(jobs) - index)
                self._reset()
                return list(jobs[index:])
        return []

    def _publish(self, job: Due) -> None:
        if self._producer is None:
            self._producer = self._app.amqp.Producer(self._connection.default_channel)
        task = TASKS[Queue(job.queue)]
        self._app.send_task(task, args=[str(job.id)], queue=job.queue, producer=self._producer)

    def _reset(self) -> None:
        self._producer = None
        self._connection.collect()
        self._connection = self._app.connection_for_write()


@dataclass(frozen=True)
class Pace:
    """How often the loops turn, in seconds."""

    busy_s: float = 0.1
    idle_s: float = 0.25
    longest_pause_s: float = 5.0
    windows_every_s: float = 2.0
    housekeep_every_s: float = 3600.0


@dataclass
class Dispatcher:
    """Rounds of dispatching, reaping and housekeeping; `stop` ends all threads."""

    engine: Engine
    publisher: Publisher
    timers: Timers
    pace: Pace = field(default_factory=Pace)
    housekeeper: Housekeeper | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._broken = False
        self._random = random.Random(self.seed)
        self._windows: Mapping[str, int] = {}
        self._windows_at = -1e9

    def run(self) -> bool:
        """Work until `stop`; outages of either server are waited out. False when a loop broke."""
        loops = [self._dispatch_loop, self._reap_loop, self._housekeeping_loop]
        threads = [
            threading.Thread(target=self._guard, args=(loop,), name=loop.__name__.strip("_"))
            for loop in loops
        ]
        for thread in threads:
            thread.start()
        self._stop.wait()
        for thread in threads:
            thread.join()
        return not self._broken

    def stop(self) -> None:
        self._stop.set()

    def dispatch(self) -> int:
        """One round; returns how many jobs were sent."""
        windows = self._open_windows()
        with unit_of_work(self.engine, tenant_id=None) as session:
            due.wake_parents(session)
            jobs = due.stamp_due(session, windows, redispatch_s=self.timers.redispatch_s) if windows else []
        unsent = self.publisher.send(jobs)
        if unsent:
            with unit_of_work(self.engine, tenant_id=None) as session:
                due.unstamp(session, [job.id for job in unsent])
            raise Unavailable("The broker is not reachable just now.", code="broker_unavailable")
        return len(jobs)

    def reap(self) -> int:
        """One round; returns how many jobs had lost their worker."""
        with unit_of_work(self.engine, tenant_id=None) as session:
            reaped = due.reap(session)
            workers.forget(session, after_s=FORGET_WORKERS_AFTER_S)
        for job in reaped:
            log.warning("reaped", job_id=str(job.id), state=job.state)
        return len(reaped)

    def _open_windows(self) -> dict[str, int]:
        """Queues with room for messages: those whose unread ones are not twice the window already."""
        if monotonic() - self._windows_at > self.pace.windows_every_s:
            with unit_of_work(self.engine, tenant_id=None) as session:
                live = workers.live(session, within_s=3 * self.timers.lease_s)
            self._windows = windows(live)
            self._windows_at = monotonic()
        return {
            queue: size for queue, size in self._windows.items() if self.publisher.backlog(queue) < 2 * size
        }

    def _guard(self, loop: Callable[[], None]) -> None:
        """A loop that ends by a mistake of ours ends the process: half a dispatcher helps nobody."""
        try:
            loop()
        except Exception as problem:
            log.error("loop_broke", exception=type(problem).__name__)
            self._broken = True
        finally:
            self._stop.set()

    def _dispatch_loop(self) -> None:
        self._loop(self.dispatch, lambda sent: self.pace.busy_s if sent else self.pace.idle_s)

    def _loop(self, turn: Callable[[], int], pause_s: Callable[[int], float]) -> None:
        failures = 0
        while not self._stop.is_set():
            done = self._attempt(turn)
            failures = 0 if done is not None else failures + 1
            wait_s = pause_s(done) if done is not None else self._back_off_s(failures)
            self._stop.wait(wait_s)

    def _reap_loop(self) -> None:
        """Reaps only after one unbroken lease with the database: in an outage nobody could beat."""
        unbroken_since = monotonic()

        def turn() -> int:
            nonlocal unbroken_since
            try:
                if monotonic() - unbroken_since < self.timers.lease_s:
                    self._touch_database()
                    return 0
                return self.reap()
            except Exception:
                unbroken_since = monotonic()
                raise

        self._loop(turn, lambda _reaped: self.timers.reap_every_s)

    def _housekeeping_loop(self) -> None:
        """A failed round is not repeated before its time: nobody waits for it."""
        pause_s = min(self.pace.housekeep_every_s, FIRST_HOUSEKEEPING_S)
        while not self._stop.wait(pause_s):
            pause_s = self.pace.housekeep_every_s
            if self.housekeeper is not None:
                self._attempt(partial(self.housekeeper.round, self._stop.is_set))

    def _touch_database(self) -> None:
        with unit_of_work(self.engine, tenant_id=None) as session:
            workers.live(session, within_s=self.timers.lease_s)

    def _attempt(self, turn: Callable[[], int]) -> int | None:
        try:
            return turn()
        except (ServiceError, SQLAlchemyError, *ERRORS) as problem:
            log.warning("round_failed", exception=type(problem).__name__, code=getattr(problem, "code", None))
            return None

    def _back_off_s(self, failures: int) -> float:
        longest = min(self.pace.longest_pause_s, self.pace.idle_s * 2 ** min(failures - 1, 10))
        return float(longest * self._random.uniform(0.5, 1.0))


def windows(live: Sequence[workers.WorkerInfo]) -> dict[str, int]:
    """Outstanding messages per queue: two rounds of work for every slot that serves it."""
    slots = dict.fromkeys((queue.value for queue in Queue), 0)
    for worker in live:
        for queue in worker.queues:
            slots[queue] += worker.batch_size if queue == Queue.INTERACTIVE else 1
    return {queue: max(SMALLEST_WINDOW, 2 * count) for queue, count in slots.items()}


def main() -> int:
    """Composition root of `enteron dispatcher`: runs until SIGTERM or SIGINT; returns the exit status."""
    used = settings.load()
    logs.configure(used.log_level)
    engine = connections.engine(used, "dispatcher", pool_size=3)
    publisher = CeleryPublisher(broker.make_app(connections.broker_url(used)))
    dispatcher = Dispatcher(
        engine,
        publisher,
        used.timers,
        Pace(housekeep_every_s=used.housekeep_every_s),
        Housekeeper(engine, connections.objects(used)),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stop())
    log.info("dispatcher_started")
    whole = dispatcher.run()
    engine.dispose()
    log.info("dispatcher_stopped")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())

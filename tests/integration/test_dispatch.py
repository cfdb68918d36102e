"""The dispatcher's rounds against a real database, with a broker that does what the test says."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from uuid import UUID

import pytest
from kombu.exceptions import OperationalError

from service.dispatch import Dispatcher, Pace
from service.domain.errors import Unavailable
from service.domain.jobs import Timers
from service.embedded import Embedded
from service.store import workers
from service.store.due import Due
from tests.databases import Database, cloned
from tests.job_bench import CLAIMANT, Bench

pytestmark = pytest.mark.integration

PACE = Pace(busy_s=0.01, idle_s=0.02, longest_pause_s=0.1, windows_every_s=0)


@dataclass
class Broker:
    """Remembers what was sent; `down` refuses, `unread` is its backlog."""

    down: bool = False
    unread: int = 0
    sent: list[UUID] = field(default_factory=list)
    committed: Callable[[UUID], bool] | None = None

    def backlog(self, _queue: str) -> int:
        return self.unread

    def send(self, jobs: Sequence[Due]) -> list[Due]:
        if self.down:
            return list(jobs)
        assert self.committed is None or all(self.committed(job.id) for job in jobs)
        self.sent += [job.id for job in jobs]
        return []


@pytest.fixture(scope="module")
def clone(servers: Embedded) -> Iterator[Database]:
    yield from cloned(servers)


@pytest.fixture
def bench(clone: Database) -> Bench:
    bench = Bench(clone)
    bench.clear()
    return bench


def dispatcher(bench: Bench, broker: Broker, **timers: float) -> Dispatcher:
    return Dispatcher(bench.database.engine("dispatcher"), broker, Timers(**timers), PACE, seed=1)


def test_a_message_is_sent_after_its_stamp_is_committed(bench: Bench) -> None:
    broker = Broker(committed=lambda job_id: bench.row(job_id).dispatched_at is not None)
    job_id = bench.submit()
    assert dispatcher(bench, broker).dispatch() == 1
    assert broker.sent == [job_id]


def test_what_could_not_be_sent_is_due_again(bench: Bench) -> None:
    broker = Broker(down=True)
    job_id = bench.submit()
    with pytest.raises(Unavailable):
        dispatcher(bench, broker).dispatch()
    assert bench.row(job_id).dispatched_at is None
    broker.down = False
    assert dispatcher(bench, broker).dispatch() == 1


def test_nothing_is_sent_into_a_list_that_nobody_reads(bench: Bench) -> None:
    broker = Broker(unread=4)
    bench.submit()
    assert dispatcher(bench, broker).dispatch() == 0
    broker.unread = 3
    assert dispatcher(bench, broker).dispatch() == 1


def test_the_window_follows_the_live_workers(bench: Bench) -> None:
    broker = Broker()
    for _ in range(10):
        bench.submit()
    assert dispatcher(bench, broker).dispatch() == 2
    with bench.worker() as session:
        workers.register(
            session,
            CLAIMANT.worker_id,
            queues=["interactive"],
            batch_size=3,
            state="idle",
            versions={},
            catalogue={},
        )
    assert dispatcher(bench, broker).dispatch() == 4


def test_it_reaps_only_after_one_unbroken_lease_with_the_database(bench: Bench) -> None:
    claim = bench.start()
    bench.age(31)
    running = dispatcher(bench, Broker(), lease_s=0.5, reap_every_s=0.02)
    started_at = monotonic()
    with in_background(running):
        while bench.row(claim.id).state == "running":
            sleep(0.01)
    assert monotonic() - started_at >= 0.5
    assert bench.row(claim.id).failures == 1


def test_an_outage_of_the_broker_is_waited_out(bench: Bench) -> None:
    class Flaky(Broker):
        tries = 0

        def backlog(self, queue: str) -> int:
            self.tries += 1
            if self.tries < 5:
                raise OperationalError
            return super().backlog(queue)

    broker = Flaky()
    job_id = bench.submit()
    with in_background(dispatcher(bench, broker)):
        while not broker.sent:
            sleep(0.01)
    assert broker.sent == [job_id]


def test_a_mistake_in_one_loop_ends_the_whole(bench: Bench) -> None:
    class Broken(Broker):
        def backlog(self, _queue: str) -> int:
            raise ZeroDivisionError

    assert not dispatcher(bench, Broken()).run()


class in_background:  # noqa: N801 - used as a statement
    """Runs a dispatcher beside the test and stops it."""

    def __init__(self, running: Dispatcher) -> None:
        self.running = running
        self.thread = threading.Thread(target=running.run)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.running.stop()
        self.thread.join()

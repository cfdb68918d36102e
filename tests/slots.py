"""A worker's engine in the test's own process: bodies, drain and children are the test's choice."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from service.domain.jobs import Kind, Timers
from service.settings import Settings
from service.store.objects import ObjectStore
from tests.job_bench import CLAIMANT, Bench
from workers.claimed import Claimed, Means, Outcome
from workers.heart import Heart, Identity
from workers.runner_client import Graces, RunnerProcess, Runners
from workers.task import House, JobEngine

BATCH_SIZE = 4


def _no_sandbox() -> object:
    raise AssertionError("no test here decodes anything")


@dataclass
class Slot:
    """A worker whose bodies the test chooses."""

    bench: Bench
    engine: Engine
    folder: Path
    draining: bool = False
    runners: Runners = field(default_factory=lambda: Runners(lambda: RunnerProcess(warm=False)))
    sandbox: Callable[[], Any] = _no_sandbox

    def __post_init__(self) -> None:
        self.objects = ObjectStore.from_url((self.folder / "objects").as_uri())
        identity = Identity(CLAIMANT.worker_id, CLAIMANT.queues, BATCH_SIZE, {}, {})
        self.heart = Heart(self.engine, identity, Timers(), draining=self._is_draining)
        self._awaited: tuple[int, Callable[[], object]] | None = None
        (self.folder / "scratch").mkdir()

    def engine_of(
        self,
        body: Callable[[Claimed], Outcome] | None = None,
        *,
        kind: Kind = Kind.SELFTEST,
        batch: Callable[[list[Claimed]], list[Outcome | Exception]] | None = None,
    ) -> JobEngine:
        means = Means(
            engine=self.engine,
            heart=self.heart,
            objects=self.objects,
            runners=self.runners,
            sandbox=self.sandbox,
            scratch=self.folder / "scratch",
            graces=Graces(cancel_s=1, drain_s=1),
            settings=Settings(home=self.folder / "home"),
        )
        house = House(
            claimant=CLAIMANT,
            batch_size=BATCH_SIZE,
            bodies={kind: body} if body else {},
            batch_bodies={Kind.ANALYSIS: batch} if batch else {},
            draining=self._is_draining,
        )
        return JobEngine(means, house)

    def run(self, job_id: UUID, body: Callable[[Claimed], Outcome], *, kind: Kind = Kind.SELFTEST) -> int:
        self.bench.age(100)
        self.bench.dispatch()
        return self.engine_of(body, kind=kind).handle(job_id)

    def after_block(self, block: int, act: Callable[[], object]) -> None:
        """Act once, at the first look at the drain after the block's commit: every commit ends with one."""
        self._awaited = (block, act)

    def _is_draining(self) -> bool:
        if self._awaited is not None:
            block, act = self._awaited
            with self.bench.api() as session:
                found = session.scalar(text("SELECT count(*) FROM job_block WHERE block = :n"), {"n": block})
            if found:
                self._awaited = None
                act()
        return self.draining

"""The one place where the API waits for jobs: a poll of all watched jobs, only while somebody watches.

Waiting costs no thread and no connection, so a thousand waiters do not slow a submit.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Engine

from service.domain.errors import RateLimited, Unavailable
from service.domain.jobs import FINAL, State
from service.store.session import unit_of_work
from service.store.watching import Mark, marks

MAX_WATCHED = 1_000
_log = structlog.get_logger("hub")


class Watch:
    """One job under watch, shared by all who wait for it."""

    def __init__(self) -> None:
        self.mark: Mark | None = None
        self.watchers = 0
        self._changed = asyncio.Event()

    @property
    def is_final(self) -> bool:
        return self.mark is not None and State(self.mark.state) in FINAL

    def tell(self, mark: Mark) -> None:
        if mark != self.mark:
            self.mark = mark
            self._changed.set()
            self._changed = asyncio.Event()

    async def change(self, timeout_s: float) -> bool:
        """Whether something changed in this time."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return False
        return True


class Hub:
    def __init__(self, engine: Engine, *, poll_s: float = 0.15) -> None:
        self._engine, self._poll_s = engine, poll_s
        self._watched: dict[tuple[UUID, UUID], Watch] = {}
        self._polling: asyncio.Task[None] | None = None
        # A thread of its own: the poll must come round while every other thread is busy.
        self._thread = CapacityLimiter(1)

    @contextmanager
    def watch(self, tenant_id: UUID, job_id: UUID) -> Iterator[Watch]:
        if len(self._watched) >= MAX_WATCHED:
            raise RateLimited("Too many jobs are being watched.", retry_after_s=5)
        place = (tenant_id, job_id)
        watch = self._watched.setdefault(place, Watch())
        watch.watchers += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            yield watch
        finally:
            watch.watchers -= 1
            if not watch.watchers:
                del self._watched[place]

    async def wait_final(self, tenant_id: UUID, job_id: UUID, *, timeout_s: float) -> bool:
        """Whether the job ended in this time."""
        with self.watch(tenant_id, job_id) as watch, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not watch.is_final:
                    await watch.change(timeout_s)
        return watch.is_final

    async def close(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polling

    async def _poll(self) -> None:
        while self._watched:
            try:
                found = await to_thread.run_sync(self._look, list(self._watched), limiter=self._thread)
            except Unavailable as problem:
                _log.warning("hub.paused", code=problem.code)
                await asyncio.sleep(1)
                continue
            for place, mark in found.items():
                if place in self._watched:
                    self._watched[place].tell(mark)
            await asyncio.sleep(self._poll_s)

    def _look(self, places: list[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], Mark]:
        found: dict[tuple[UUID, UUID], Mark] = {}
        for tenant_id in {tenant for tenant, _ in places}:
            ids = [job for tenant, job in places if tenant == tenant_id]
            with unit_of_work(self._engine, tenant_id=tenant_id) as session:
                found |= {(tenant_id, job_id): mark for job_id, mark in marks(session, ids).items()}
        return found

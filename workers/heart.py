"""The heartbeat: a thread that extends the leases of all held jobs and hears about cancels.

It lives in the supervisor, which never imports torch, so no computation can stop it. A job whose lease could
not be extended in time is given up here too, by the monotonic clock, before anybody else may claim it.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from service.domain.errors import Unavailable
from service.domain.jobs import Timers
from service.store import claims, workers
from service.store.claims import Claim
from service.store.session import unit_of_work
from workers.interrupts import Cancelled, DeadlinePassed, Draining, Interrupt, Lost

log = structlog.get_logger()

# Losing an extension in a crash costs nothing: the lease just ends earlier.
NO_WAIT_FOR_DISK = text("SET LOCAL synchronous_commit = off")


@dataclass(frozen=True)
class Identity:
    """What the table `worker` says of this process."""

    worker_id: UUID
    queues: Sequence[str]
    batch_size: int
    versions: Mapping[str, Any]
    catalogue: Mapping[str, Any]


@dataclass
class _Held:
    claim: Claim
    good_until: float  # monotonic
    deadline_at: float
    cancelled: bool = False
    lost: bool = False


class Heart:
    """Start it, tell it what is held, ask it whether to go on."""

    def __init__(
        self,
        engine: Engine,
        identity: Identity,
        timers: Timers,
        *,
        draining: Callable[[], bool] = lambda: False,
        hears_broker: Callable[[], bool] = lambda: True,
        pulse: Path | None = None,
    ) -> None:
        self._engine = engine
        self._identity = identity
        self._timers = timers
        self._draining = draining
        self._hears_broker = hears_broker
        self._pulse = pulse
        self._held: dict[UUID, _Held] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        self._register("idle")
        self._write_pulse(database=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def hold(self, claim: Claim, *, since: float) -> None:
        """Beat for the job from now on; `since` is the monotonic time at which its claim was sent."""
        held = _Held(claim, since + self._timers.lease_s, since + claim.deadline_in_s)
        with self._lock:
            self._held[claim.id] = held

    def let_go(self, claim: Claim) -> None:
        with self._lock:
            self._held.pop(claim.id, None)

    def interrupt(self, claim: Claim) -> Interrupt | None:
        """Why work on the job has to end, if it has to."""
        with self._lock:
            held = self._held.get(claim.id)
        if held is None or held.lost or monotonic() > held.good_until:
            return Lost()
        if held.cancelled:
            return Cancelled()
        if monotonic() > held.deadline_at:
            return DeadlinePassed()
        return Draining() if self._draining() else None

    def good_for_s(self, claim: Claim) -> float:
        """How long the lease surely lasts; what is written later may be refused."""
        with self._lock:
            held = self._held.get(claim.id)
        return 0.0 if held is None or held.lost else held.good_until - monotonic()

    def _run(self) -> None:
        pause_s = self._timers.beat_s
        while not self._stop.wait(pause_s):
            alive = self._attempt()
            # In an outage the next try must come before the leases end.
            pause_s = self._timers.beat_s if alive else min(1.0, self._timers.beat_s)
            self._write_pulse(database=alive)

    def _attempt(self) -> bool:
        try:
            self.beat()
        except (Unavailable, SQLAlchemyError) as problem:
            log.warning("beat_failed", exception=type(problem).__name__)
            return False
        return True

    def beat(self) -> None:
        """One beat for all held jobs and for the worker itself."""
        asked_at = monotonic()
        pairs = self._pairs(asked_at)
        with unit_of_work(self._engine, tenant_id=None) as session:
            session.execute(NO_WAIT_FOR_DISK)
            answer = claims.beat(session, pairs, lease_s=self._timers.lease_s) if pairs else {}
            known = workers.beat(session, self._identity.worker_id, state=self._state())
        if not known:
            self._register(self._state())
        with self._lock:
            for job_id, fence in pairs:
                self._note(job_id, fence, answer, asked_at)

    def _pairs(self, now: float) -> list[tuple[UUID, int]]:
        # A body that is stuck for good must lose its lease: past the deadline nobody beats for it.
        late_s = self._timers.cancel_grace_s + self._timers.lease_s
        with self._lock:
            return [
                (held.claim.id, held.claim.fence)
                for held in self._held.values()
                if not held.lost and now < held.deadline_at + late_s
            ]

    def _note(self, job_id: UUID, fence: int, answer: Mapping[UUID, Any], asked_at: float) -> None:
        held = self._held.get(job_id)
        if held is None or held.claim.fence != fence:
            return  # let go meanwhile
        if job_id in answer:
            held.good_until = asked_at + self._timers.lease_s
            held.cancelled = answer[job_id] is not None
        else:
            held.lost = True

    def _state(self) -> str:
        if self._draining():
            return "draining"
        return "busy" if self._held else "idle"

    def _register(self, state: str) -> None:
        with unit_of_work(self._engine, tenant_id=None) as session:
            who = self._identity
            workers.register(
                session,
                who.worker_id,
                queues=who.queues,
                batch_size=who.batch_size,
                state=state,
                versions=who.versions,
                catalogue=who.catalogue,
            )

    def say_goodbye(self) -> None:
        """Last word of a worker that stops in good order."""
        try:
            with unit_of_work(self._engine, tenant_id=None) as session:
                workers.beat(session, self._identity.worker_id, state="stopped")
        except (Unavailable, SQLAlchemyError) as problem:
            log.warning("goodbye_failed", exception=type(problem).__name__)
        if self._pulse is not None:
            self._pulse.unlink(missing_ok=True)

    def _write_pulse(self, *, database: bool) -> None:
        """For `workers.probe`: the file's age says that this process lives, its content how it does."""
        if self._pulse is None:
            return
        draft = self._pulse.with_suffix(".new")
        broker = self._hears_broker()
        said = {"pid": os.getpid(), "state": self._state(), "database": database, "broker": broker}
        try:
            draft.write_text(json.dumps(said))
            draft.replace(self._pulse)
        except OSError as problem:  # a full disk must not end the beats
            log.warning("pulse_failed", exception=type(problem).__name__)

"""The job table under random clients, workers, dispatcher, crashes and time: rules and what must hold.

After each rule the rows are compared with what the machine has seen; at the end everything that is left must
come to an end in a bounded number of rounds. J numbers are those of the handbook's table of invariants.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import text

from service.domain.ids import new_id
from service.domain.jobs import FINAL, MAX_FAILURES, Kind, State
from service.store import claims, due
from service.store.claims import Claim
from service.usecases import jobs
from tests.job_bench import Bench

LEASE_S, WINDOW, BATCH = 30.0, 4, 3
MANY_JOBS = 8
# Each round ends a window of jobs; a parent may need one after its children.
ROUNDS_TO_THE_END = 12

worker_numbers = st.integers(0, 1)
picks = st.integers(0, 7)


@dataclass
class Seen:
    """What the machine knows of one job."""

    fence: int = 0
    final: str | None = None
    cancelled: bool = False  # a client was told that its cancel is asked for
    parent: UUID | None = None
    batched: bool = False


@dataclass
class History:
    jobs: dict[UUID, Seen] = field(default_factory=dict)
    accepted: Counter[UUID] = field(default_factory=Counter)


class JobsMachine(RuleBasedStateMachine):
    """Two workers that may fall silent, be slow, or come back from the dead with an old claim."""

    bench: ClassVar[Bench]
    clean: ClassVar[bool] = False  # whether the last run left nothing unfinished in the table

    @initialize()
    def empty(self) -> None:
        machine = type(self)
        if not machine.clean:
            self.bench.clear()
        machine.clean = False
        self.bench.new_tenant()
        self.history = History()
        self.held: tuple[list[Claim], list[Claim]] = ([], [])
        self.messages: list[UUID] = []

    # Clients

    @precondition(lambda self: self._few())
    @rule(batched=st.booleans())
    def submit(self, batched: bool) -> None:
        job_id = self.bench.submit(batch_key="shared" if batched else None)
        self.history.jobs[job_id] = Seen(batched=batched)

    @precondition(lambda self: self._few())
    @rule()
    def submit_family(self) -> None:
        parent = self.bench.submit(state=State.WAITING)
        self.history.jobs[parent] = Seen()
        for _ in range(2):
            self.history.jobs[self.bench.submit(parent_id=parent)] = Seen(parent=parent)

    @precondition(lambda self: self.history.jobs)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        self._cancel(_pick(list(self.history.jobs), pick))

    @precondition(lambda self: any(self.held))
    @rule(worker=worker_numbers, pick=picks)
    def cancel_what_runs(self, worker: int, pick: int) -> None:
        if self.held[worker]:
            self._cancel(_pick(self.held[worker], pick).id)

    def _cancel(self, job_id: UUID) -> None:
        if self.history.jobs[job_id].final is None:
            with self.bench.api() as session:
                jobs.cancel(session, self.bench.person, job_id)
            self._note_cancel(job_id)

    def _few(self) -> bool:
        return sum(seen.final is None for seen in self.history.jobs.values()) < MANY_JOBS

    def _note_cancel(self, job_id: UUID) -> None:
        self.history.jobs[job_id].cancelled = True
        for seen in self.history.jobs.values():
            if seen.parent == job_id and seen.final is None:
                seen.cancelled = True

    # Dispatcher and broker

    @rule(lost=st.booleans())
    def dispatch(self, lost: bool) -> None:
        with self.bench.dispatcher() as session:
            due.wake_parents(session)
        sent = self.bench.dispatch(interactive=WINDOW)
        self.messages += [] if lost else sent
        assert self._outstanding() <= WINDOW

    @rule()
    def flush_broker(self) -> None:
        self.messages.clear()

    @precondition(lambda self: self.messages)
    @rule(pick=picks)
    def double_message(self, pick: int) -> None:
        self.messages.append(_pick(self.messages, pick))

    @precondition(lambda self: self.history.jobs)
    @rule(pick=picks)
    def forge_message(self, pick: int) -> None:
        self.messages += [new_id(), _pick(list(self.history.jobs), pick)]

    @rule()
    def reap(self) -> None:
        before = self._rows("state = 'running' AND lease_until < clock_timestamp()")
        reaped = set(self._reap())
        assert reaped <= {row.id for row in before}
        after = {row.id: row for row in self._rows("true")}
        for row in before:
            if row.id in reaped:
                self._check_reaped(row, after[row.id])

    def _reap(self) -> list[UUID]:
        with self.bench.dispatcher() as session:
            return [job.id for job in due.reap(session)]

    def _check_reaped(self, before: Any, after: Any) -> None:
        alone = before.batch_size == 1
        if before.cancel_requested_at is not None:
            assert after.state == "cancelled"
        elif alone:
            assert after.failures == before.failures + 1  # J6
            assert (after.state == "dead") == (after.failures >= MAX_FAILURES)
        else:
            assert (after.state, after.failures, after.alone) == ("queued", before.failures, True)  # J21

    # Workers

    @precondition(lambda self: self.messages)
    @rule(worker=worker_numbers, pick=picks)
    def deliver(self, worker: int, pick: int) -> None:
        job_id = _pick(self.messages, pick)
        self.messages.remove(job_id)
        taken = self.bench.claim(job_id, limit=BATCH)
        alone = {row.id for row in self._rows("alone")}
        assert len(taken) == 1 or not alone & {claim.id for claim in taken}  # J21
        for claim in taken:
            self._check_claimed(claim)
            self.held[worker].append(claim)

    def _check_claimed(self, claim: Claim) -> None:
        seen = self.history.jobs[claim.id]
        assert claim.fence == seen.fence + 1  # J4
        assert not seen.cancelled  # J9
        seen.fence = claim.fence
        family = [child for child in self.history.jobs.values() if child.parent == claim.id]
        finals = self._rows("finished_at IS NOT NULL")
        assert sum(row.parent_id == claim.id for row in finals) == len(family)  # J19

    @rule(worker=worker_numbers)
    def beat(self, worker: int) -> None:
        if self.held[worker]:
            pairs = [(claim.id, claim.fence) for claim in self.held[worker]]
            with self.bench.worker() as session:
                answer = claims.beat(session, pairs, lease_s=LEASE_S)
            current = {row.id: row.fence for row in self._rows("state = 'running'")}
            assert set(answer) <= {id_ for id_, fence in pairs if current.get(id_) == fence}

    @precondition(lambda self: any(self.held))
    @rule(worker=worker_numbers, pick=picks)
    def finish(self, worker: int, pick: int) -> None:
        claim = self._take(worker, pick)
        if claim is not None and self.bench.finish(claim):
            seen = self.history.jobs[claim.id]
            assert claim.fence == seen.fence  # J3
            assert not seen.cancelled  # J9
            self.history.accepted[claim.id] += 1

    @precondition(lambda self: any(self.held))
    @rule(worker=worker_numbers, pick=picks)
    def fail(self, worker: int, pick: int) -> None:
        claim = self._take(worker, pick)
        if claim is not None:
            with self.bench.worker(claim) as session:
                claims.fail(session, claim, code="no_frames", detail="")

    @precondition(lambda self: any(self.held))
    @rule(worker=worker_numbers, pick=picks)
    def drain(self, worker: int, pick: int) -> None:
        claim = self._take(worker, pick)
        if claim is not None:
            before = self.bench.row(claim.id).failures
            with self.bench.worker(claim) as session:
                claims.release(session, claim)
            assert self.bench.row(claim.id).failures == before  # J7

    @precondition(lambda self: any(self.held))
    @rule(worker=worker_numbers, pick=picks)
    def runner_dies(self, worker: int, pick: int) -> None:
        claim = self._take(worker, pick)
        if claim is not None:
            with self.bench.worker(claim) as session:
                claims.count_failure(session, claim, delay_s=1, detail="")

    @precondition(lambda self: any(self.held))
    @rule(worker=worker_numbers, pick=picks, block=st.integers(0, 3))
    def commit_block(self, worker: int, pick: int, block: int) -> None:
        if not self.held[worker]:
            return
        claim = _pick(self.held[worker], pick)
        before = self.bench.row(claim.id)
        with self.bench.worker(claim) as session:
            if block not in claims.missing_blocks(session, claim, 4):
                return
            claims.insert_block(session, claim, block=block, items=1, object_key=None, sha256=None)
            accepted = claims.accept(session, claim)
            if not accepted:
                session.rollback()
        assert accepted == (before.state == "running" and before.fence == claim.fence)  # J22

    @rule(worker=worker_numbers)
    def kill(self, worker: int) -> None:
        self.held[worker].clear()

    @precondition(lambda self: self._few())
    @rule(worker=worker_numbers, mates=st.integers(1, BATCH))
    def start(self, worker: int, mates: int) -> None:
        """The usual way, so that there is work to break: submitted, sent, claimed at once."""
        for _ in range(mates):
            self.submit(batched=mates > 1)
        self.dispatch(lost=False)
        if self.messages:
            self.deliver(worker=worker, pick=len(self.messages) - 1)

    # Time

    @rule(seconds=st.sampled_from([1, 10, 31, 61]))
    def wait(self, seconds: int) -> None:
        self.bench.age(seconds)

    @rule(worker=worker_numbers)
    def stand_still_and_be_replaced(self, worker: int) -> None:
        """SIGSTOP beyond the lease: the other worker takes the jobs over, this one keeps its claims."""
        self.bench.age(LEASE_S + 1)
        self.reap()
        self.bench.age(61)
        self.dispatch(lost=False)
        for _ in range(min(2, len(self.messages))):
            self.deliver(worker=1 - worker, pick=0)
        self.beat(worker)

    # What must hold

    @invariant()
    def nothing_contradicts_what_was_seen(self) -> None:
        for row in self._rows("true"):
            seen = self.history.jobs[row.id]
            assert row.fence >= seen.fence
            if seen.final is not None:
                assert row.state == seen.final  # J5
            elif row.state in FINAL:
                seen.final = row.state
            if seen.cancelled and seen.final is not None:
                assert seen.final == "cancelled"  # J9

    @invariant()
    def results_are_of_the_last_fence(self) -> None:
        with self.bench.api() as session:
            results = session.execute(text("SELECT job_id, fence FROM job_result")).all()
        rows = {row.id: row for row in self._rows("true")}
        assert {row.job_id for row in results} == {
            id_ for id_, row in rows.items() if row.state == "succeeded"
        }
        assert all(rows[row.job_id].fence == row.fence for row in results)  # J3
        assert all(count == 1 for count in self.history.accepted.values())

    def teardown(self) -> None:
        if not hasattr(self, "history"):
            return
        while self.held[1]:
            self.drain(worker=1, pick=0)
        for _ in range(ROUNDS_TO_THE_END):
            if self._rows("finished_at IS NULL"):
                self._calm_round()
        assert not self._rows("finished_at IS NULL")  # J2
        self.nothing_contradicts_what_was_seen()
        self.results_are_of_the_last_fence()
        self._check_events()
        type(self).clean = True

    def _calm_round(self) -> None:
        self.bench.age(100)
        self._reap()
        self.bench.age(100)
        self.dispatch(lost=False)
        while self.messages:
            self.deliver(worker=0, pick=0)
        for worker in (0, 1):
            while self.held[worker]:
                self.finish(worker=worker, pick=0)

    def _check_events(self) -> None:
        with self.bench.api() as session:
            events = session.execute(text("SELECT job_id, code FROM job_event ORDER BY id")).all()
            audits = session.scalar(text("SELECT count(*) FROM audit_event WHERE operation LIKE 'job.%'"))
        histories: dict[UUID, list[str]] = {}
        for event in events:
            histories.setdefault(event.job_id, []).append(event.code.removeprefix("state."))
        assert audits == len(events)  # J18
        for history in histories.values():
            for before, after in pairwise(history):
                assert before not in FINAL  # J5
                assert after != "running" or before == "queued"  # J4

    def _take(self, worker: int, pick: int) -> Claim | None:
        if not self.held[worker]:
            return None
        claim = _pick(self.held[worker], pick)
        self.held[worker].remove(claim)
        return claim

    def _rows(self, condition: str) -> list[Any]:
        with self.bench.dispatcher() as session:
            rows = text("SELECT * FROM job WHERE tenant_id = :tenant AND " + condition + " ORDER BY id")
            return list(session.execute(rows, {"tenant": self.bench.person.tenant_id}))

    def _outstanding(self) -> int:
        recent = "dispatched_at > clock_timestamp() - interval '30 s'"
        return len(self._rows(f"state = 'queued' AND {recent} AND kind = '{Kind.SELFTEST}'"))


def _pick(items: list[Any], number: int) -> Any:
    return items[number % len(items)]

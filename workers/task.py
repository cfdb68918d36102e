"""The house task: claim, beat, run the body, settle. It owns every move of a job on the worker's side.

A message only wakes it. Whatever a body raises is mapped here to what becomes of the job:

| raised | becomes |
|---|---|
| Draining, Cancelled, DeadlinePassed | queued (a preemption), cancelled, failed with `deadline` |
| Lost | nothing: the job is somebody else's |
| Unavailable | queued with back-off, uncounted: the dependency is at fault |
| RunnerDied, RunnerStalled, OSError, MemoryError | queued with back-off and a failure, in the end dead |
| RunnerError with `disk_full` | the same: there may be room later, or on another machine |
| another ServiceError, RunnerError, SandboxRefused | failed with its code |
| anything else | failed with `internal_error` |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.domain.errors import ServiceError, Unavailable
from service.domain.ids import new_id
from service.domain.jobs import KINDS, Kind, backoff_s
from service.store import claims
from service.store.claims import Claim, Claimant
from service.store.session import unit_of_work
from workers import runner_client
from workers.bodies import BatchBody, Body
from workers.claimed import RETRY_S, Claimed, Means, Outcome, Settlement
from workers.interrupts import Cancelled, DeadlinePassed, Draining, Interrupt, Lost
from workers.place import place
from workers.runner_client import InterruptedBy, RunnerClient, RunnerDied, RunnerError, RunnerStalled
from workers.sandbox_client import SandboxRefused

log = structlog.get_logger()

# Other model versions get their turn after so many claims in a row.
ROUNDS = 8
CLAIM_ATTEMPTS = 5


class NotOurs(Exception):
    """The fenced statement touched no row: roll back and look why."""


@dataclass(frozen=True)
class House:
    """What the engine needs beside the means it lends to jobs."""

    claimant: Claimant
    batch_size: int
    bodies: Mapping[Kind, Body]
    batch_bodies: Mapping[Kind, BatchBody]
    draining: Callable[[], bool]


class JobEngine:
    """Runs what a message points to; one per worker process, called by one thread."""

    def __init__(self, means: Means, house: House) -> None:
        self._means = means
        self._house = house

    def ring(self, job_id: str) -> None:
        """The Celery task."""
        try:
            self.handle(UUID(job_id))
        except Exception as problem:  # rows decide; a broken ring must not end the worker
            log.error("ring_failed", exception=type(problem).__name__, place=place(problem))

    def handle(self, job_id: UUID) -> int:
        """Claim and run the job and its batch mates; returns how many jobs were run."""
        done = 0
        for _ in range(ROUNDS):
            asked_at = monotonic()
            taken = [] if self._house.draining() else self._claim(job_id)
            if not taken:
                break
            self._work(taken, asked_at)
            done += len(taken)
            if not KINDS[Kind(taken[0].kind)].batched:
                break
        return done

    def _claim(self, job_id: UUID) -> list[Claim]:
        """Claim once, however often the connection breaks: the token tells what an earlier try took."""
        token, house = new_id(), self._house
        for attempt in range(CLAIM_ATTEMPTS):
            try:
                with unit_of_work(self._means.engine, tenant_id=None) as session:
                    taken = claims.claimed_by(session, token) if attempt else []
                    return taken or claims.claim(
                        session, house.claimant, job_id, token=token, limit=house.batch_size
                    )
            except Unavailable:
                sleep(RETRY_S * 2**attempt)
        log.warning("claim_failed", job_id=str(job_id))
        return []

    def _work(self, taken: Sequence[Claim], asked_at: float) -> None:
        for claim in taken:
            self._means.heart.hold(claim, since=asked_at)
        try:
            body = self._house.batch_bodies.get(Kind(taken[0].kind))
            if body is not None:
                self._run_together(list(taken), body)
            else:
                for claim in taken:
                    self._run_alone(claim, self._house.bodies[Kind(claim.kind)])
        finally:
            for claim in taken:
                self._means.heart.let_go(claim)

    def _run_alone(self, claim: Claim, body: Body) -> None:
        heart = self._means.heart
        runner = self._runner(claim, interrupted_by=lambda: heart.interrupt(claim))
        job = Claimed(claim, self._means, runner)
        runner.listen(job.relay)
        try:
            self._settle(job, _attempt(lambda: body(job), job))
        finally:
            runner.close()
            job.close()

    def _run_together(self, taken: list[Claim], body: BatchBody) -> None:
        """One run for all; if it breaks, one for each, so that only the culprit is to blame."""
        if len(taken) > 1 and self._run_batch(taken, body):
            return
        for claim in taken:
            self._run_alone(claim, lambda job: _only(body([job])))

    def _run_batch(self, taken: list[Claim], body: BatchBody) -> bool:
        """False when it broke; its runner is stopped for nobody's sake, as the mates would suffer."""
        runner = self._runner(taken[0], interrupted_by=lambda: None)
        jobs = [Claimed(claim, self._means, runner) for claim in taken]
        try:
            results = _attempt_batch(lambda: body(jobs), len(jobs))
            for job, result in zip(jobs, results or [], strict=results is not None):
                self._settle(job, result)
            return results is not None
        finally:
            runner.close()
            for job in jobs:
                job.close()

    def _runner(self, claim: Claim, *, interrupted_by: InterruptedBy) -> RunnerClient:
        rules = KINDS[Kind(claim.kind)]
        return RunnerClient(
            self._means.runners,
            fresh=rules.fresh_runner,
            stall_s=rules.stall_s,
            graces=self._means.graces,
            interrupted_by=interrupted_by,
        )

    def _settle(self, job: Claimed, result: Settlement) -> None:
        """Bring the end of the job into its row; in an outage again and again until the lease ends."""
        next_: Settlement | None = result
        again = False
        while next_ is not None:
            if isinstance(next_, Exception) and not again:
                _log_end(job, next_)
            if isinstance(next_, Lost):
                return
            result = next_
            try:
                next_ = self._settle_once(job, result, again=again)
            except (Unavailable, SQLAlchemyError):
                if self._means.heart.good_for_s(job.claim) <= 0:
                    next_ = Lost()
                sleep(RETRY_S)
            again = next_ is result

    def _settle_once(self, job: Claimed, result: Settlement, *, again: bool) -> Settlement | None:
        """One try; returns what to try next, None when there is nothing left to do."""
        if again and not self._look(job)[0]:
            return None  # settled by a commit whose answer was lost, or not ours any more
        try:
            with job.session() as session:
                if not commit(session, job.claim, result):
                    raise NotOurs
        except NotOurs:
            held, cancelled = self._look(job)
            return Cancelled() if held and cancelled else Lost()
        except Unavailable:
            raise
        except Exception as problem:
            if isinstance(result, Outcome):
                return problem  # what was to be written is at fault, and the job fails for it
            raise
        return None

    def _look(self, job: Claimed) -> tuple[bool, bool]:
        with job.session() as session:
            return claims.held(session, job.claim)


def commit(session: Session, claim: Claim, result: Settlement) -> bool:  # noqa: PLR0911 - one per case
    """The last move of the job under this claim; False when the fence refused it."""
    match result:
        case Outcome():
            return _succeed(session, claim, result)
        case Draining():
            return claims.release(session, claim) is not None
        case Cancelled():
            return claims.retry(session, claim, delay_s=0) is not None  # ends as cancelled
        case Unavailable():
            return claims.retry(session, claim, delay_s=backoff_s(claim.fence)) is not None
        case DeadlinePassed():
            return claims.fail(session, claim, code="deadline", detail="The job took longer than it may.")
        case RunnerError(code=runner_client.DISK_FULL):
            delay_s = backoff_s(claim.failures + 1)
            return claims.count_failure(session, claim, delay_s=delay_s, detail=result.detail) is not None
        case RunnerError() | ServiceError():
            return claims.fail(session, claim, code=result.code, detail=result.detail)
        case SandboxRefused():  # a whole archive; its messages hold no names
            said = str(result)
            return claims.fail(session, claim, code=result.code, detail=f"{said[:1].upper()}{said[1:]}.")
        case RunnerDied() | RunnerStalled() | OSError() | MemoryError():
            delay_s = backoff_s(claim.failures + 1)
            return claims.count_failure(session, claim, delay_s=delay_s, detail=_why(result)) is not None
    return claims.fail(session, claim, code="internal_error", detail="")


def _succeed(session: Session, claim: Claim, outcome: Outcome) -> bool:
    if outcome.blocks is not None and claims.missing_blocks(session, claim, outcome.blocks):
        raise ValueError("blocks are missing")
    if outcome.write is not None:
        outcome.write(session)
    claims.insert_result(session, claim, outcome.result)
    return claims.succeed(session, claim)


def _why(problem: Exception) -> str:
    match problem:
        case RunnerDied():
            return f"The work ended its process (status {problem.status})."
        case RunnerStalled():
            return "The work stood still and was ended."
        case OSError(errno=number) if number in runner_client.NO_SPACE:
            return "The worker's disk is full."
    return "The machine could not do the work."


def _attempt(run: Callable[[], Outcome], job: Claimed) -> Settlement:
    try:
        job.check()
        outcome = run()
        job.flush()
    except Exception as problem:
        return problem
    return outcome


def _attempt_batch(run: Callable[[], Sequence[Settlement]], size: int) -> Sequence[Settlement] | None:
    """None when it broke: each member is then tried alone, and judged by that."""
    try:
        results = run()
    except Draining as interrupt:
        return [interrupt] * size
    except Exception as problem:
        log.warning("batch_broke", exception=type(problem).__name__, jobs=size)
        return None
    return results if len(results) == size else None


def _only(results: Sequence[Settlement]) -> Outcome:
    (result,) = results
    if isinstance(result, Exception):
        raise result
    return result


def _log_end(job: Claimed, problem: Exception) -> None:
    fields: dict[str, Any] = {"job_id": str(job.job_id), "kind": job.kind, "fence": job.fence}
    code = getattr(problem, "code", None)
    name = getattr(problem, "exception", "") or type(problem).__name__
    where = getattr(problem, "place", "") or place(problem)
    expected = isinstance(problem, Interrupt | ServiceError)
    (log.info if expected else log.warning)("job_ended", exception=name, code=code, place=where, **fields)

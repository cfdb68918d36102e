"""The worker's side of the job table: claim, beat, report, finish. The fence decides who may write.

Every statement that changes a job names id and fence and asks for `state = 'running'`: no row means that the
job is not ours any more, and the caller rolls back. Only the database's clock counts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, Executable, RowMapping, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from service.domain.jobs import KINDS


@dataclass(frozen=True)
class Claim:
    """A job that one worker holds under one fence."""

    id: UUID
    tenant_id: UUID
    principal_id: UUID
    kind: str
    spec: Mapping[str, Any]
    fence: int
    failures: int
    checkpoint: Mapping[str, Any] | None
    deadline_in_s: float  # seconds from the claim


@dataclass(frozen=True)
class Claimant:
    """Which worker claims, what it serves and how long its word is good."""

    worker_id: UUID
    queues: tuple[str, ...]
    lease_s: float


# A message only wakes: it names one job, and the claim takes that one and others with its batch key. A
# forged message for another queue takes nothing.
CLAIM = text("""
WITH woken AS (SELECT batch_key, alone FROM job WHERE id = :id AND queue = ANY(:queues)),
pick AS MATERIALIZED (
  SELECT j.id FROM job j JOIN woken USING (batch_key)
  WHERE j.state = 'queued' AND j.dispatched_at IS NOT NULL AND j.cancel_requested_at IS NULL
    AND j.run_after <= clock_timestamp() AND (j.id = :id OR NOT j.alone)
  ORDER BY (j.id = :id) DESC, j.priority DESC, j.dispatched_at, j.id
  LIMIT (SELECT CASE WHEN alone THEN 1 ELSE :limit END FROM woken)
  FOR UPDATE OF j SKIP LOCKED)
UPDATE job SET state = 'running', fence = job.fence + 1, claim_token = :token, worker_id = :worker_id,
  lease_until = clock_timestamp() + make_interval(secs => CAST(:lease_s AS float8)),
  batch_size = (SELECT count(*) FROM pick),
  started_at = coalesce(started_at, clock_timestamp()),
  deadline_at = coalesce(deadline_at,
    clock_timestamp() + make_interval(secs => CAST(CAST(:walls_s AS jsonb) ->> kind AS float8)))
FROM pick WHERE job.id = pick.id
RETURNING job.id, tenant_id, principal_id, kind, spec, fence, failures, checkpoint,
  extract(epoch FROM deadline_at - clock_timestamp())::float8 AS deadline_in_s
""")

# After a broken connection: whatever runs under our token is ours.
CLAIMED_BY_TOKEN = text("""
SELECT id, tenant_id, principal_id, kind, spec, fence, failures, checkpoint,
  extract(epoch FROM deadline_at - clock_timestamp())::float8 AS deadline_in_s
FROM job WHERE claim_token = :token AND state = 'running'
""")

BEAT = text("""
UPDATE job SET lease_until = clock_timestamp() + make_interval(secs => CAST(:lease_s AS float8))
FROM unnest(CAST(:ids AS uuid[]), CAST(:fences AS bigint[])) AS held(id, fence)
WHERE job.id = held.id AND job.fence = held.fence AND job.state = 'running'
RETURNING job.id, job.cancel_requested_at
""")

PROGRESS = text("""
UPDATE job SET progress = :progress, progress_at = clock_timestamp()
WHERE id = :id AND fence = :fence AND state = 'running'
""").bindparams(bindparam("progress", type_=JSONB))

EVENT = text("""
INSERT INTO job_event (tenant_id, job_id, code, fence, numbers)
SELECT tenant_id, id, :code, fence, :numbers FROM job WHERE id = :id AND fence = :fence AND state = 'running'
""").bindparams(bindparam("numbers", type_=JSONB))

METRICS = text("""
INSERT INTO job_metric (tenant_id, job_id, name, step, value, fence)
SELECT job.tenant_id, job.id, p.name, p.step, p.value, job.fence
FROM job, unnest(CAST(:names AS text[]), CAST(:steps AS bigint[]), CAST(:values AS float8[]))
  AS p(name, step, value)
WHERE job.id = :id AND job.fence = :fence AND job.state = 'running'
ON CONFLICT (job_id, name, step) DO UPDATE SET value = excluded.value, fence = excluded.fence
""")

INSERT_BLOCK = text("""
INSERT INTO job_block (tenant_id, job_id, block, fence, items, object_key, sha256)
VALUES (:tenant_id, :id, :block, :fence, :items, :object_key, :sha256)
""")

# Accepted work clears the failures: only a job that gets nowhere comes nearer to `dead`.
ACCEPT = text("""
UPDATE job SET failures = 0, progress_at = clock_timestamp()
WHERE id = :id AND fence = :fence AND state = 'running'
""")

ACCEPT_CHECKPOINT = text("""
UPDATE job SET failures = 0, progress_at = clock_timestamp(), checkpoint = :checkpoint
WHERE id = :id AND fence = :fence AND state = 'running'
""").bindparams(bindparam("checkpoint", type_=JSONB))

BLOCK_FENCE = text("SELECT fence FROM job_block WHERE job_id = :id AND block = :block")

ACCEPTED_BLOCKS = text("SELECT block FROM job_block WHERE job_id = :id")

MISSING_BLOCKS = text("""
SELECT n FROM generate_series(0, :count - 1) AS n
WHERE NOT EXISTS (SELECT FROM job_block WHERE job_id = :id AND block = n) ORDER BY n
""")

INSERT_RESULT = text("""
INSERT INTO job_result (tenant_id, job_id, fence, body) VALUES (:tenant_id, :id, :fence, :body)
""").bindparams(bindparam("body", type_=JSONB))

# First commit wins: once a cancel is requested, no result is accepted.
FINISH = text("""
UPDATE job SET state = :state, finished_at = clock_timestamp(), lease_until = NULL, claim_token = NULL,
  error_code = :error_code, error_detail = :error_detail
WHERE id = :id AND fence = :fence AND state = 'running' AND cancel_requested_at IS NULL
""")

# A drain counts as preemption, an absent dependency as nothing, a dead runner as failure. The next state
# is judged under the row's lock: a cancel that commits meanwhile must not leave a job queued for ever.
PUT_BACK = text("""
WITH mine AS (
  SELECT id, CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
                  WHEN :failure > 0 AND failures + :failure >= max_failures THEN 'dead'
                  ELSE 'queued' END AS next
  FROM job WHERE id = :id AND fence = :fence AND state = 'running' FOR UPDATE)
UPDATE job SET
  state = mine.next, failures = failures + :failure, preemptions = preemptions + :preemption,
  lease_until = NULL, claim_token = NULL, dispatched_at = NULL,
  run_after = clock_timestamp() + make_interval(secs => CAST(:delay_s AS float8)),
  finished_at = CASE WHEN mine.next = 'queued' THEN NULL ELSE clock_timestamp() END,
  error_code = CASE WHEN mine.next = 'dead' THEN 'gave_up' END,
  error_detail = CASE WHEN mine.next = 'dead' THEN CAST(:detail AS text) END
FROM mine WHERE job.id = mine.id
RETURNING job.state
""")

HELD = text("""
SELECT fence = :fence AND state = 'running' AS held, cancel_requested_at FROM job WHERE id = :id
""")

_WALLS_S = json.dumps({kind.value: rules.wall_s for kind, rules in KINDS.items()})


def claim(session: Session, claimant: Claimant, job_id: UUID, *, token: UUID, limit: int) -> list[Claim]:
    """Take the job and up to `limit - 1` others with its batch key; empty when there is nothing to take."""
    values = {**vars(claimant), "queues": list(claimant.queues), "walls_s": _WALLS_S}
    rows = session.execute(CLAIM, {**values, "id": job_id, "token": token, "limit": limit}).mappings()
    return [_claim(row) for row in rows]


def claimed_by(session: Session, token: UUID) -> list[Claim]:
    """What a claim took whose answer was lost."""
    return [_claim(row) for row in session.execute(CLAIMED_BY_TOKEN, {"token": token}).mappings()]


def beat(
    session: Session, held: Sequence[tuple[UUID, int]], *, lease_s: float
) -> dict[UUID, datetime | None]:
    """Extend the leases of (id, fence) pairs; a job that is missing in the answer is lost.

    The value is when its cancel was requested.
    """
    values = {"ids": [id_ for id_, _ in held], "fences": [fence for _, fence in held], "lease_s": lease_s}
    return {row.id: row.cancel_requested_at for row in session.execute(BEAT, values)}


def report_progress(session: Session, claim: Claim, progress: Mapping[str, Any]) -> bool:
    return _touched(session, PROGRESS, claim, progress=progress)


def report_event(session: Session, claim: Claim, code: str, numbers: Mapping[str, int | float]) -> bool:
    return _touched(session, EVENT, claim, code=code, numbers=numbers)


def report_metrics(session: Session, claim: Claim, points: Sequence[tuple[str, int, float]]) -> bool:
    latest = {(name, step): value for name, step, value in points}
    values: dict[str, Any] = {
        "names": [name for name, _ in latest],
        "steps": [step for _, step in latest],
        "values": list(latest.values()),
    }
    return _touched(session, METRICS, claim, **values)


def insert_block(
    session: Session, claim: Claim, *, block: int, items: int, object_key: str | None, sha256: str | None
) -> None:
    """Part of a transaction whose last statement is `accept`."""
    values = {"block": block, "items": items, "object_key": object_key, "sha256": sha256}
    session.execute(INSERT_BLOCK, {**_who(claim), "tenant_id": claim.tenant_id, **values})


def has_block(session: Session, claim: Claim, block: int) -> bool:
    """Whether the block was committed under this very claim."""
    fence: int | None = session.scalar(BLOCK_FENCE, {"id": claim.id, "block": block})
    return fence == claim.fence


def accepted_blocks(session: Session, claim: Claim) -> frozenset[int]:
    """Blocks that this or an earlier claim has committed: a restart passes over them."""
    return frozenset(session.scalars(ACCEPTED_BLOCKS, {"id": claim.id}))


def missing_blocks(session: Session, claim: Claim, count: int) -> list[int]:
    """Which of the blocks 0 ... count - 1 are still to do; a count of rows would miss a gap."""
    return list(session.scalars(MISSING_BLOCKS, {"id": claim.id, "count": count}))


def accept(session: Session, claim: Claim) -> bool:
    return _touched(session, ACCEPT, claim)


def accept_checkpoint(session: Session, claim: Claim, checkpoint: Mapping[str, Any]) -> bool:
    return _touched(session, ACCEPT_CHECKPOINT, claim, checkpoint=checkpoint)


def insert_result(session: Session, claim: Claim, body: Mapping[str, Any]) -> None:
    """Carries the worker's own fence, never the row's: a stale one must be visible as stale."""
    session.execute(INSERT_RESULT, {**_who(claim), "tenant_id": claim.tenant_id, "body": body})


def succeed(session: Session, claim: Claim) -> bool:
    """Last statement of the transaction that writes the results, so that beats do not wait for its lock."""
    return _touched(session, FINISH, claim, state="succeeded", error_code=None, error_detail=None)


def fail(session: Session, claim: Claim, *, code: str, detail: str) -> bool:
    return _touched(session, FINISH, claim, state="failed", error_code=code, error_detail=detail)


def release(session: Session, claim: Claim) -> str | None:
    """Drain: back to the queue (or cancelled, if that was asked for); the new state, None if not ours."""
    return _put_back(session, claim, preemption=1)


def retry(session: Session, claim: Claim, *, delay_s: float) -> str | None:
    """A dependency was away, which is not the job's fault."""
    return _put_back(session, claim, delay_s=delay_s)


def count_failure(session: Session, claim: Claim, *, delay_s: float, detail: str) -> str | None:
    """The job ended its runner, or the machine failed it; `dead` when that was once too often."""
    return _put_back(session, claim, failure=1, delay_s=delay_s, detail=detail)


def held(session: Session, claim: Claim) -> tuple[bool, bool]:
    """Whether the job still runs under this claim, and whether its cancel was requested."""
    row = session.execute(HELD, _who(claim)).one_or_none()
    return (False, False) if row is None else (row.held, row.cancel_requested_at is not None)


def _put_back(
    session: Session,
    claim: Claim,
    *,
    failure: int = 0,
    preemption: int = 0,
    delay_s: float = 0,
    detail: str | None = None,
) -> str | None:
    values = {"failure": failure, "preemption": preemption, "delay_s": delay_s, "detail": detail}
    state: str | None = session.scalar(PUT_BACK, {**_who(claim), **values})
    return state


def _touched(session: Session, statement: Executable, claim: Claim, **values: Any) -> bool:
    result = session.execute(statement, {**_who(claim), **values})
    return cast(CursorResult[Any], result).rowcount > 0


def _who(claim: Claim) -> dict[str, Any]:
    return {"id": claim.id, "fence": claim.fence}


def _claim(row: RowMapping) -> Claim:
    return Claim(**row)

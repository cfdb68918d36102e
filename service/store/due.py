"""The dispatcher's side of the job table: which rows are due, which leases ran out, which parents go on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Due:
    """A job to wake a worker for."""

    id: UUID
    queue: str


@dataclass(frozen=True)
class Reaped:
    """A job whose worker fell silent, and what became of it."""

    id: UUID
    state: str


# What a tenant has in flight counts into its turn, so that one with 10,000 queued jobs waits behind one with
# its first. Ranked without locks, locked outside: window functions and FOR UPDATE exclude each other.
STAMP_DUE = text("""
WITH flight AS (
  SELECT queue, tenant_id, count(*) AS jobs, count(*) FILTER (WHERE state = 'queued') AS messages FROM job
  WHERE state = 'running' OR (state = 'queued' AND dispatched_at IS NOT NULL
    AND dispatched_at > clock_timestamp() - make_interval(secs => CAST(:redispatch_s AS float8)))
  GROUP BY queue, tenant_id),
room AS (
  SELECT w.queue, greatest(0, w.size
    - coalesce((SELECT sum(messages) FROM flight WHERE flight.queue = w.queue), 0)) AS free
  FROM unnest(CAST(:queues AS text[]), CAST(:windows AS bigint[])) AS w(queue, size)),
candidate AS (
  SELECT j.id, j.priority, room.queue, room.free, coalesce(flight.jobs, 0)
    + row_number() OVER (PARTITION BY room.queue, tenant.id ORDER BY j.priority DESC, j.id) AS turn
  FROM room CROSS JOIN tenant CROSS JOIN LATERAL (
    SELECT id, priority FROM job
    WHERE job.tenant_id = tenant.id AND job.queue = room.queue AND state = 'queued'
      AND run_after <= clock_timestamp() AND (dispatched_at IS NULL
        OR dispatched_at <= clock_timestamp() - make_interval(secs => CAST(:redispatch_s AS float8)))
    ORDER BY priority DESC, id LIMIT room.free) AS j
  LEFT JOIN flight ON flight.queue = room.queue AND flight.tenant_id = tenant.id
  WHERE room.free > 0),
chosen AS (
  SELECT id FROM (
    SELECT id, free, row_number() OVER (PARTITION BY queue ORDER BY priority DESC, turn, id) AS place
    FROM candidate) AS ranked
  WHERE place <= free),
locked AS MATERIALIZED (
  SELECT job.id FROM job JOIN chosen USING (id)
  WHERE state = 'queued' AND (dispatched_at IS NULL
    OR dispatched_at <= clock_timestamp() - make_interval(secs => CAST(:redispatch_s AS float8)))
  FOR UPDATE OF job SKIP LOCKED)
UPDATE job SET dispatched_at = clock_timestamp() FROM locked WHERE job.id = locked.id
RETURNING job.id, job.queue
""")

# A worker may have claimed meanwhile; its row is left alone.
UNSTAMP = text("UPDATE job SET dispatched_at = NULL WHERE id = ANY(:ids) AND state = 'queued'")

# The members of a batch cannot tell who ended their worker: they come back alone and uncounted.
REAP = text("""
WITH expired AS MATERIALIZED (
  SELECT id, batch_size > 1 AS crowded,
    CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
         WHEN batch_size = 1 AND failures + 1 >= max_failures THEN 'dead'
         ELSE 'queued' END AS next
  FROM job WHERE state = 'running' AND lease_until < clock_timestamp()
  ORDER BY lease_until LIMIT :limit FOR UPDATE SKIP LOCKED)
UPDATE job SET
  state = expired.next, alone = alone OR crowded,
  failures = failures + CASE WHEN crowded THEN 0 ELSE 1 END,
  lease_until = NULL, claim_token = NULL, dispatched_at = NULL,
  run_after = clock_timestamp()
    + CASE WHEN crowded THEN interval '0' ELSE make_interval(secs => least(60, power(2, failures))) END,
  finished_at = CASE WHEN expired.next = 'queued' THEN NULL ELSE clock_timestamp() END,
  error_code = CASE WHEN expired.next = 'dead' THEN 'gave_up' END,
  error_detail = CASE WHEN expired.next = 'dead' THEN 'The job ended its worker each time it was tried.' END
FROM expired WHERE job.id = expired.id
RETURNING job.id, job.state
""")

# Asked here, of committed rows, and not by the last child: no counter can drift, and however a child ended
# (finished, cancelled, given up by the reaper), the parent goes on once, under its own row lock.
WAKE_PARENTS = text("""
WITH ready AS MATERIALIZED (
  SELECT id FROM job parent
  WHERE state = 'waiting' AND NOT EXISTS (
    SELECT FROM job child WHERE child.parent_id = parent.id AND child.finished_at IS NULL)
  LIMIT :limit FOR UPDATE SKIP LOCKED)
UPDATE job SET state = 'queued', run_after = clock_timestamp() FROM ready WHERE job.id = ready.id
RETURNING job.id
""")


def stamp_due(session: Session, windows: Mapping[str, int], *, redispatch_s: float) -> list[Due]:
    """Mark the next due jobs as sent, at most `windows[queue]` outstanding; publish after the commit."""
    values = {
        "queues": list(windows),
        "windows": list(windows.values()),
        "redispatch_s": redispatch_s,
    }
    return [Due(row.id, row.queue) for row in session.execute(STAMP_DUE, values)]


def unstamp(session: Session, ids: Sequence[UUID]) -> None:
    """The messages could not be sent: the rows are due again."""
    session.execute(UNSTAMP, {"ids": list(ids)})


def reap(session: Session, *, limit: int = 100) -> list[Reaped]:
    """Put back, cancel or give up the jobs whose lease ran out."""
    return [Reaped(row.id, row.state) for row in session.execute(REAP, {"limit": limit})]


def wake_parents(session: Session, *, limit: int = 100) -> list[UUID]:
    """Queue the parents all of whose children are final."""
    return list(session.scalars(WAKE_PARENTS, {"limit": limit}))

"""The client's side of the job table: submit, look, cancel, try again.

The worker's side is in `claims`, the dispatcher's in `due`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Job:
    """One row, with the body of its result where there is one."""

    id: UUID
    tenant_id: UUID
    principal_id: UUID
    kind: str
    queue: str
    state: str
    spec: Mapping[str, Any]
    batch_key: str
    priority: int
    fence: int
    failures: int
    preemptions: int
    progress: Mapping[str, Any]
    progress_at: datetime | None
    cancel_requested_at: datetime | None
    error_code: str | None
    error_detail: str | None
    parent_id: UUID | None
    retry_of: UUID | None
    deadline_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class NewJob:
    """What is stored at submit."""

    id: UUID
    tenant_id: UUID
    principal_id: UUID
    kind: str
    queue: str
    state: str
    spec: Mapping[str, Any]
    batch_key: str
    priority: int = 0
    parent_id: UUID | None = None
    retry_of: UUID | None = None
    deadline_s: float | None = None


@dataclass(frozen=True)
class Kin:
    """Which other jobs there are for the same work."""

    is_retried: bool
    has_family: bool  # a parent or children


@dataclass(frozen=True)
class Event:
    """One line of a job's history."""

    id: int
    job_id: UUID
    at: datetime
    code: str
    fence: int
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class MetricPoint:
    name: str
    step: int
    value: float


# The count stops at the limit and reads the index of queued rows only; without a limit nothing is counted.
INSERT = text("""
INSERT INTO job (id, tenant_id, principal_id, kind, queue, state, spec, spec_sha256, batch_key, priority,
                 deadline_at, parent_id, retry_of)
SELECT :id, :tenant_id, :principal_id, :kind, :queue, :state, :spec, :spec_sha256, :batch_key, :priority,
       clock_timestamp() + make_interval(secs => CAST(:deadline_s AS float8)),
       CAST(:parent_id AS uuid), CAST(:retry_of AS uuid)
WHERE CAST(:max_queued AS integer) IS NULL OR (SELECT count(*) FROM (
         SELECT FROM job WHERE tenant_id = :tenant_id AND state = 'queued' LIMIT :max_queued) q) < :max_queued
RETURNING *, NULL::jsonb AS result
""").bindparams(bindparam("spec", type_=JSONB))

GET = text("""
SELECT job.*, r.body AS result FROM job LEFT JOIN job_result r ON r.job_id = job.id
WHERE job.id = :id AND (CAST(:owner AS uuid) IS NULL OR job.principal_id = :owner)
""")

LIST = text("""
SELECT job.*, r.body AS result FROM job LEFT JOIN job_result r ON r.job_id = job.id
WHERE job.tenant_id = :tenant_id
  AND (CAST(:owner AS uuid) IS NULL OR job.principal_id = :owner)
  AND (CAST(:before AS uuid) IS NULL OR job.id < :before)
  AND (CAST(:kind AS text) IS NULL OR job.kind = :kind)
  AND (CAST(:states AS text[]) IS NULL OR job.state = ANY(:states))
ORDER BY job.id DESC LIMIT :limit
""")

# Locked in one order, so that two cancels of one family cannot wait for each other.
LOCK_FAMILY = text("""
WITH RECURSIVE family AS (
  SELECT id FROM job WHERE id = :id
  UNION ALL SELECT child.id FROM job child JOIN family ON child.parent_id = family.id)
SELECT id FROM job WHERE id IN (SELECT id FROM family) AND state IN ('waiting', 'queued', 'running')
ORDER BY id FOR UPDATE
""")

# Work that has not begun ends here; a running job sees the column at its next beat.
CANCEL = text("""
UPDATE job SET
  cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
  state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END,
  finished_at = CASE WHEN state = 'running' THEN NULL ELSE clock_timestamp() END
WHERE id = ANY(:ids) AND state IN ('waiting', 'queued', 'running')
""")

# Held to the end of the retry, so that of two at once the second sees the first.
LOCK = text("SELECT FROM job WHERE id = :id FOR UPDATE")

KIN = text("""
SELECT EXISTS (SELECT FROM job WHERE retry_of = :id) AS is_retried,
       EXISTS (SELECT FROM job WHERE id = :id AND parent_id IS NOT NULL)
         OR EXISTS (SELECT FROM job WHERE parent_id = :id) AS has_family
""")

# What was committed stays so: to the new job these blocks came before its first claim, whose fence is 1.
TAKE_BLOCKS = text("""
INSERT INTO job_block (tenant_id, job_id, block, fence, items, object_key, sha256)
SELECT tenant_id, :new_id, block, 0, items, object_key, sha256 FROM job_block WHERE job_id = :old_id
""")

EVENTS = text("""
SELECT id, job_id, at, code, fence, numbers FROM job_event
WHERE job_id = :id AND id > :after ORDER BY id LIMIT :limit
""")

METRICS = text("SELECT name, step, value FROM job_metric WHERE job_id = :id ORDER BY name, step")


def spec_sha256(spec: Mapping[str, Any]) -> str:
    canonical = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def insert(session: Session, job: NewJob, *, max_queued: int | None) -> Job | None:
    """The new row; None when the tenant has as many queued jobs as it may."""
    values = {**vars(job), "spec_sha256": spec_sha256(job.spec), "max_queued": max_queued}
    row = session.execute(INSERT, values).mappings().one_or_none()
    return None if row is None else _job(row)


def get(session: Session, job_id: UUID, *, owner: UUID | None = None) -> Job | None:
    """The job, if it is in the session's tenant and, where `owner` is given, theirs."""
    row = session.execute(GET, {"id": job_id, "owner": owner}).mappings().one_or_none()
    return None if row is None else _job(row)


def page(
    session: Session,
    tenant_id: UUID,
    *,
    limit: int,
    before: UUID | None = None,
    owner: UUID | None = None,
    kind: str | None = None,
    states: Sequence[str] | None = None,
) -> list[Job]:
    """Newest first, those older than `before`."""
    values = {
        "tenant_id": tenant_id,
        "limit": limit,
        "before": before,
        "owner": owner,
        "kind": kind,
        "states": None if states is None else list(states),
    }
    return [_job(row) for row in session.execute(LIST, values).mappings()]


def cancel(session: Session, job_id: UUID) -> None:
    """Ask the job and its descendants to end; whatever has not begun ends now."""
    ids = list(session.scalars(LOCK_FAMILY, {"id": job_id}))
    session.execute(CANCEL, {"ids": ids})


def lock_kin(session: Session, job_id: UUID) -> Kin:
    """Its relatives, and nobody adds one before the transaction ends."""
    session.execute(LOCK, {"id": job_id})
    return Kin(**session.execute(KIN, {"id": job_id}).mappings().one())


def take_blocks(session: Session, *, old_id: UUID, new_id: UUID) -> None:
    session.execute(TAKE_BLOCKS, {"old_id": old_id, "new_id": new_id})


def events(session: Session, job_id: UUID, *, after: int, limit: int) -> list[Event]:
    rows = session.execute(EVENTS, {"id": job_id, "after": after, "limit": limit}).mappings()
    return [Event(**row) for row in rows]


def metrics(session: Session, job_id: UUID) -> list[MetricPoint]:
    return [MetricPoint(**row) for row in session.execute(METRICS, {"id": job_id}).mappings()]


def _job(row: RowMapping) -> Job:
    return Job(**{name: row[name] for name in Job.__dataclass_fields__})

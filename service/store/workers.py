"""The workers as their beats tell: what each serves and can run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class WorkerInfo:
    """One supervisor process."""

    id: UUID
    queues: Sequence[str]
    batch_size: int
    state: str
    versions: Mapping[str, Any]
    catalogue: Mapping[str, Any]
    started_at: datetime
    beat_at: datetime


REGISTER = text("""
INSERT INTO worker (id, queues, batch_size, state, versions, catalogue)
VALUES (:id, :queues, :batch_size, :state, :versions, :catalogue)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, versions = excluded.versions,
  catalogue = excluded.catalogue, beat_at = clock_timestamp()
""").bindparams(bindparam("versions", type_=JSONB), bindparam("catalogue", type_=JSONB))

BEAT = text("UPDATE worker SET state = :state, beat_at = clock_timestamp() WHERE id = :id RETURNING id")

LIVE = text("""
SELECT id, queues, batch_size, state, versions, catalogue, started_at, beat_at FROM worker
WHERE state <> 'stopped' AND beat_at > clock_timestamp() - make_interval(secs => CAST(:within_s AS float8))
ORDER BY started_at
""")

FORGET = text("""
DELETE FROM worker WHERE beat_at < clock_timestamp() - make_interval(secs => CAST(:after_s AS float8))
""")


def register(
    session: Session,
    worker_id: UUID,
    *,
    queues: Sequence[str],
    batch_size: int,
    state: str,
    versions: Mapping[str, Any],
    catalogue: Mapping[str, Any],
) -> None:
    values = {"queues": list(queues), "batch_size": batch_size, "state": state}
    session.execute(REGISTER, {"id": worker_id, **values, "versions": versions, "catalogue": catalogue})


def beat(session: Session, worker_id: UUID, *, state: str) -> bool:
    """False when the row is gone: a worker that slept for long registers again."""
    return session.execute(BEAT, {"id": worker_id, "state": state}).first() is not None


def live(session: Session, *, within_s: float) -> list[WorkerInfo]:
    """Those that beat within so many seconds."""
    rows = session.execute(LIVE, {"within_s": within_s}).mappings()
    return [WorkerInfo(**row) for row in rows]


def forget(session: Session, *, after_s: float) -> None:
    session.execute(FORGET, {"after_s": after_s})

"""One question for all the jobs that somebody watches: has anything changed?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Mark:
    """Where a job stands; unequal marks mean that there is something to tell."""

    id: UUID
    state: str
    progress_at: datetime | None
    cancel_requested_at: datetime | None
    last_event_id: int | None


MARKS = text("""
SELECT id, state, progress_at, cancel_requested_at,
       (SELECT max(e.id) FROM job_event e WHERE e.job_id = job.id) AS last_event_id
FROM job WHERE id = ANY(:ids)
""")


def marks(session: Session, job_ids: Sequence[UUID]) -> dict[UUID, Mark]:
    rows = session.execute(MARKS, {"ids": list(job_ids)}).mappings()
    return {row["id"]: Mark(**row) for row in rows}

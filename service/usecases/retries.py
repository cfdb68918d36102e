"""Ended work tried again: a new job that names the old one and takes its place.

Blocks that were committed stay, and the new job goes on with the others. Work without blocks begins anew:
what it makes is written in the transaction that ends it well, so a job that ended otherwise left nothing.
"""

from dataclasses import replace
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.domain.errors import InvalidTransition
from service.domain.jobs import FINAL, Kind, Queue, State
from service.store import analyses, audit, datasets, predictions
from service.store import jobs as store
from service.usecases import jobs
from service.usecases.jobs import JobView

# Rows that name the job which works for them.
_NAMED_BY = {
    Kind.ANALYSIS: analyses.give_to_job,
    Kind.DATASET: datasets.give_to_job,
    Kind.PREDICTION: predictions.give_to_job,
}


def retry(session: Session, principal: Principal, job_id: UUID, *, max_queued: int) -> JobView:
    """Run ended work again. It stays the work of the one who submitted it, whoever asks."""
    old = jobs.find(session, principal, job_id)
    _refuse_unfit(old, store.lock_kin(session, job_id))
    new = jobs.submit(
        session,
        replace(principal, id=old.principal_id),
        Kind(old.kind),
        old.spec,
        queue=Queue(old.queue),
        # No batch key: what ended a worker once must not end its mates' work again.
        priority=old.priority,
        retry_of=old.id,
        max_queued=max_queued,
    )
    store.take_blocks(session, old_id=old.id, new_id=new.id)
    give_to_job = _NAMED_BY.get(Kind(old.kind))
    if give_to_job is not None:
        give_to_job(session, old_job_id=old.id, new_job_id=new.id)
    audit.record(
        session,
        principal,
        action=audit.Action.CREATE,
        operation="jobs.retry",
        object_type="job",
        object_id=new.id,
    )
    return new


def _refuse_unfit(old: store.Job, kin: store.Kin) -> None:
    state = State(old.state)
    if state not in FINAL:
        raise InvalidTransition("The job has not ended yet.")
    if state == State.SUCCEEDED:
        raise InvalidTransition("The job has its result; submit the work again for another.")
    if kin.is_retried:
        raise InvalidTransition("The job was tried again already; retry the newest try.")
    if kin.has_family:
        raise InvalidTransition("The job is one of several for one work; submit the whole work again.")

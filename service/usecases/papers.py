"""The jobs that make files of model versions; whoever registers a version asks for its papers at once."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.domain.jobs import Kind
from service.domain.version_files import PAPERS, Form
from service.usecases import jobs
from service.usecases.jobs import JobView


def ask(session: Session, principal: Principal, model_version_id: UUID) -> None:
    """Have card and report made of a version that the same transaction registers."""
    submit(session, principal, model_version_id, PAPERS, evaluation_id=None, max_queued=None)


def submit(
    session: Session,
    principal: Principal,
    model_version_id: UUID,
    forms: Sequence[Form],
    *,
    evaluation_id: UUID | None,
    max_queued: int | None,
) -> JobView:
    spec = {
        "model_version_id": str(model_version_id),
        "forms": [form.value for form in forms],
        "evaluation_id": None if evaluation_id is None else str(evaluation_id),
    }
    return jobs.submit(session, principal, Kind.EXPORT, spec, max_queued=max_queued)

"""Files of a model version: have them made, and look at what was made."""

from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.domain.errors import FieldError, InvalidInput, NotFound
from service.domain.version_files import Form
from service.store import version_files as store
from service.store.tables.registry import VersionFile
from service.usecases import papers, registry
from service.usecases.jobs import JobView


def have_made(
    session: Session,
    principal: Principal,
    name: str,
    number: int,
    *,
    form: Form,
    evaluation_id: UUID | None,
    max_queued: int,
) -> JobView:
    """One form of a version; a report may be that of a later evaluation."""
    version = registry.get_version(session, principal, name, number)
    if evaluation_id is not None:
        _require_evaluation(session, version.id, form, evaluation_id)
    return papers.submit(
        session, principal, version.id, (form,), evaluation_id=evaluation_id, max_queued=max_queued
    )


def made(
    session: Session,
    principal: Principal,
    name: str,
    number: int,
    *,
    form: Form,
    evaluation_id: UUID | None = None,
) -> VersionFile:
    version = registry.get_version(session, principal, name, number)
    found = store.newest(session, version.id, form, evaluation_id=evaluation_id)
    if found is None:
        raise NotFound(f"It is not made yet: POST its format, {form}, to exports.", code="not_made")
    return found


def _require_evaluation(session: Session, model_version_id: UUID, form: Form, evaluation_id: UUID) -> None:
    if form is not Form.REPORT or store.evaluation(session, model_version_id, evaluation_id) is None:
        raise InvalidInput(
            "A report is of an evaluation of this version that has succeeded.",
            code="no_evaluation",
            errors=[FieldError("/evaluation_id", "no such evaluation, or no report is asked for")],
        )

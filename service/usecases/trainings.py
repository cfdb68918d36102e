"""Training: a job whose result is a new model version, or the comparison of several trainings."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.domain.errors import FieldError, InvalidInput
from service.domain.jobs import Kind
from service.usecases import datasets, jobs, workers
from service.usecases.jobs import JobView


def submit(
    session: Session,
    principal: Principal,
    *,
    recipe: str,
    dataset_ids: Sequence[UUID],
    backbone: str | None,
    params: Mapping[str, Any],
    model_name: str | None,
    comparison: Mapping[str, Any] | None,
    max_queued: int,
) -> JobView:
    """`model_name` defaults to the recipe's; the recipe itself checks its parameters.

    Several datasets are learnt from as one. With `comparison` no version is made, but a table.
    """
    _require_datasets(session, dataset_ids)
    workers.require_known(session, "recipes", recipe, "/recipe")
    if backbone is not None:
        workers.require_known(session, "backbones", backbone, "/backbone")
    spec = {
        "recipe": recipe,
        "dataset_ids": [str(dataset_id) for dataset_id in dataset_ids],
        "backbone": backbone,
        "params": dict(params),
    }
    if comparison is not None:
        asked = spec | {"comparison": dict(comparison)}
        return jobs.submit(session, principal, Kind.COMPARISON, asked, max_queued=max_queued)
    named = spec | {"model_name": model_name or recipe}
    return jobs.submit(session, principal, Kind.TRAINING, named, max_queued=max_queued)


def _require_datasets(session: Session, dataset_ids: Sequence[UUID]) -> None:
    for number, dataset_id in enumerate(dataset_ids):
        pointer = f"/more_dataset_ids/{number - 1}" if number else "/dataset_id"
        datasets.require_ready(session, dataset_id, pointer)
        if dataset_id in dataset_ids[:number]:
            raise InvalidInput(
                "A dataset is named twice.",
                code="repeated_dataset",
                errors=[FieldError(pointer, "is named before")],
            )


def synthesize(
    session: Session, principal: Principal, *, spec: Mapping[str, Any], max_queued: int
) -> JobView:
    """Frames drawn by code, for demos and tests; the result names the file that holds them."""
    return jobs.submit(session, principal, Kind.SYNTHESIS, spec, max_queued=max_queued)

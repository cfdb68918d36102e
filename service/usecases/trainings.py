"""Training: a job whose result is a new model version."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.domain.jobs import Kind
from service.usecases import datasets, jobs, workers
from service.usecases.jobs import JobView


def submit(
    session: Session,
    principal: Principal,
    *,
    recipe: str,
    dataset_id: UUID,
    backbone: str | None,
    params: Mapping[str, Any],
    model_name: str | None,
    max_queued: int,
) -> JobView:
    """`model_name` defaults to the recipe's; the recipe itself checks its parameters."""
    datasets.require_ready(session, dataset_id, "/dataset_id")
    workers.require_known(session, "recipes", recipe, "/recipe")
    if backbone is not None:
        workers.require_known(session, "backbones", backbone, "/backbone")
    spec = {
        "recipe": recipe,
        "dataset_id": str(dataset_id),
        "backbone": backbone,
        "params": dict(params),
        "model_name": model_name or recipe,
    }
    return jobs.submit(session, principal, Kind.TRAINING, spec, max_queued=max_queued)


def synthesize(
    session: Session, principal: Principal, *, spec: Mapping[str, Any], max_queued: int
) -> JobView:
    """Frames drawn by code, for demos and tests; the result names the file that holds them."""
    return jobs.submit(session, principal, Kind.SYNTHESIS, spec, max_queued=max_queued)

"""Training: a job whose result is a new model version."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain import media
from service.domain.access import Principal
from service.domain.errors import FieldError, InvalidInput
from service.domain.jobs import Kind
from service.usecases import datasets, files, jobs, registry, workers
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
        "initial_weights": _initial_weights(session, principal, params.get("initial_weights")),
    }
    return jobs.submit(session, principal, Kind.TRAINING, spec, max_queued=max_queued)


def _initial_weights(session: Session, principal: Principal, named: object) -> Mapping[str, str] | None:
    """What the recipe's parameter of that name means, as ids: a worker takes no word for a place."""
    if named is None:
        return None
    pointer = "/params/initial_weights"
    if not isinstance(named, str):
        raise InvalidInput("Not weights.", errors=[FieldError(pointer, "a file's id, or name:version")])
    try:
        file_id = UUID(named)
    except ValueError:
        return {"model_version_id": str(registry.resolve(session, named, pointer).model_version_id)}
    (file,) = files.named_in_body(session, principal, [file_id], pointer)
    if file.media_type != media.WEIGHTS:
        raise InvalidInput(
            "The weights to start from are not a safetensors file.",
            code="not_safetensors",
            errors=[FieldError(pointer, "must name safetensors; `enteron model convert` makes them")],
        )
    return {"file_id": str(file_id)}


def synthesize(
    session: Session, principal: Principal, *, spec: Mapping[str, Any], max_queued: int
) -> JobView:
    """Frames drawn by code, for demos and tests; the result names the file that holds them."""
    return jobs.submit(session, principal, Kind.SYNTHESIS, spec, max_queued=max_queued)

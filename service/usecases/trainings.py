"""Training: a job whose result is a new model version, or the comparison of several trainings."""

from collections.abc import Mapping, Sequence
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
    if comparison is not None and model_name is not None:
        raise InvalidInput(
            "A comparison makes no version.",
            errors=[FieldError("/model_name", "must be left out beside compare")],
        )
    _require_datasets(session, dataset_ids)
    workers.require_known(session, "recipes", recipe, "/recipe")
    if backbone is not None:
        workers.require_known(session, "backbones", backbone, "/backbone")
    spec = {
        "recipe": recipe,
        "dataset_ids": [str(dataset_id) for dataset_id in dataset_ids],
        "backbone": backbone,
        "params": dict(params),
        "initial_weights": _initial_weights(session, principal, params.get("initial_weights")),
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

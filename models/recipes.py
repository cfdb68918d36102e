"""The list of recipes: an explicit dict from name to what trains and what evaluates (docs/extending.md)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.artifacts import Trained, unknown_builder
from models.imaging import classifier_recipe as image_classifier
from models.imaging import recipe as lesion_detector
from models.imaging.comparison import compare
from models.imaging.lesion_params import LesionDetectorParams
from models.schema import JsonObject, json_schema
from models.training import Interrupted


@dataclass(frozen=True)
class Recipe:
    """One way to make a model version.

    Attributes:
        summary: for people.
        dataset_kind: what `dataset_dir` must hold.
        params: dataclass of the parameters.
        run: `(dataset_dir, params, work_dir, *, resume_from, report, should_stop)` to a version; and
            `initial_weights` where its parameters have that name.
        evaluate: `(weights, sha256, spec, dataset_dir, work_dir, *, device, training_index, report,
            should_stop)` to metrics; `training_index` is that of the data the version was made from, or None.
        compare: `(dataset_dir, params, comparison, work_dir, *, resume_from, report, should_stop)` to a table
            of its arms; None if it has none.
    """

    summary: str
    dataset_kind: str
    params: type
    run: Callable[..., Trained | Interrupted]
    evaluate: Callable[..., JsonObject | None]
    compare: Callable[..., JsonObject | Interrupted] | None = None


RECIPES: dict[str, Recipe] = {
    "lesion-detector": Recipe(
        summary="multi-label lesion detector with class activation maps",
        dataset_kind="frames",
        params=LesionDetectorParams,
        run=lesion_detector.run,
        evaluate=lesion_detector.evaluate,
        compare=compare,
    ),
    "image-classifier": Recipe(
        summary="published network with its own head, for classes that exclude each other",
        dataset_kind="frames",
        params=image_classifier.ImageClassifierParams,
        run=image_classifier.run,
        evaluate=image_classifier.evaluate,
    ),
}


class UnknownRecipe(ValueError):
    """No recipe of that name is registered here."""

    code = "unknown_recipe"

    def __init__(self) -> None:
        known = ", ".join(sorted(RECIPES))
        super().__init__(f"No such recipe here: name one of {known}, or bring this worker up to date.")


class NotComparable(ValueError):
    """The recipe has no arms to compare."""

    code = "not_comparable"

    def __init__(self) -> None:
        able = ", ".join(sorted(name for name, recipe in RECIPES.items() if recipe.compare))
        super().__init__(f"The recipe has nothing to compare: name one of {able}.")


def comparing(name: str) -> Callable[..., JsonObject | Interrupted]:
    """What compares the arms of the recipe of that name; raises UnknownRecipe or NotComparable."""
    compare = find(name).compare
    if compare is None:
        raise NotComparable
    return compare


def find(name: str) -> Recipe:
    """The recipe of that name; raises UnknownRecipe."""
    if name not in RECIPES:
        raise UnknownRecipe
    return RECIPES[name]


def measuring(builder: str) -> Recipe:
    """The recipe that measures what the builder makes: it has the builder's name.

    Raises:
        ArtifactRefused: `unknown_builder`.
    """
    if builder not in RECIPES:
        raise unknown_builder(RECIPES)
    return RECIPES[builder]


def catalogue() -> list[dict[str, Any]]:
    """JSON-able description of every recipe."""
    return [
        {
            "name": name,
            "summary": recipe.summary,
            "dataset_kind": recipe.dataset_kind,
            "params": json_schema(recipe.params),
            "comparable": recipe.compare is not None,
        }
        for name, recipe in RECIPES.items()
    ]

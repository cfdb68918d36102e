"""A version beside the champion: the figures that decide whether it may take its place."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict

from service.api.gate import Caller, GuardedRoute, needs
from service.api.problems import declared
from service.domain.access import Permission
from service.domain.promotion import Basis, Verdict
from service.domain.registry import NAME_PATTERN
from service.usecases import comparisons

router = APIRouter(prefix="/models", tags=["models"], route_class=GuardedRoute)


class AreaBody(BaseModel):
    """An AUC and its 95 % interval."""

    model_config = ConfigDict(from_attributes=True)

    value: float
    low: float | None
    high: float | None


class LabelComparisonBody(BaseModel):
    """One label of the champion; `data` is the fingerprint of the data set that both were measured on."""

    model_config = ConfigDict(from_attributes=True)

    label: str
    verdict: Verdict
    refuses: bool
    basis: Basis | None
    data: str | None
    champion: AreaBody | None
    challenger: AreaBody | None
    sentence: str


class ComparisonBody(BaseModel):
    """`champion` is null where there is none, or the version is it: then nothing is refused."""

    champion: int | None
    version: int
    refuses: bool
    labels: list[LabelComparisonBody]


@router.get(
    "/{name}/versions/{version}/comparison", response_model=ComparisonBody, responses=declared(404, 422)
)
def get_comparison(
    name: Annotated[str, Path(pattern=NAME_PATTERN)],
    version: Annotated[int, Path(ge=1, le=2**31 - 1)],
    caller: Annotated[Caller, needs(Permission.MODELS_READ)],
) -> ComparisonBody:
    """How the version compares with the champion, label by label: what a promotion is judged by."""
    with caller.work() as session:
        found = comparisons.get(session, caller.principal, name, version)
    if found is None:
        return ComparisonBody(champion=None, version=version, refuses=False, labels=[])
    labels = [LabelComparisonBody.model_validate(label) for label in found.labels]
    return ComparisonBody(champion=found.champion, version=version, refuses=found.refuses, labels=labels)

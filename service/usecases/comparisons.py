"""A version beside its model's champion: what a promotion is judged by, for anybody to see before."""

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.domain.errors import NotFound
from service.domain.promotion import Comparison, Standing, compare
from service.domain.registry import CHAMPION
from service.store import registry as store
from service.store.registry import ModelRow, VersionRow

_EVALUATIONS = 100  # the newest of each version


def get(session: Session, _principal: Principal, name: str, number: int) -> Comparison | None:
    """None where there is no champion, or the version is it."""
    model = store.find_model(session, name)
    version = None if model is None else store.version(session, model.id, number)
    if model is None or version is None:
        raise NotFound("There is no such model or version, or it is not yours.")
    return with_champion(session, model, version)


def with_champion(session: Session, model: ModelRow, challenger: VersionRow) -> Comparison | None:
    aliases = {alias: number for _, alias, number in store.aliases(session, [model.id])}
    number = aliases.get(CHAMPION, challenger.version)
    champion = store.version(session, model.id, number)
    if champion is None or number == challenger.version:
        return None
    labels = compare(_standing(session, champion), _standing(session, challenger))
    return Comparison(number, challenger.version, labels)


def _standing(session: Session, version: VersionRow) -> Standing:
    later = store.evaluations(session, version.id, limit=_EVALUATIONS)
    return Standing(
        evidence={label["name"]: label["evidence"] for label in version.spec["labels"]},
        own=version.metrics,
        evaluations=[evaluation.body["metrics"] for evaluation in later],
    )

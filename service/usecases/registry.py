"""The model registry: look, promote, roll back, bring in. Versions never change, aliases move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.domain.errors import Conflict, FieldError, InvalidInput, ModelRefused, NotFound
from service.domain.ids import SYSTEM_TENANT_ID
from service.domain.jobs import Kind
from service.domain.promotion import WorseThanChampion
from service.domain.registry import CHAMPION, DEFAULT_READERS, Reference, check_spec
from service.store import audit, versions
from service.store import registry as store
from service.store.files import NewFile
from service.store.registry import ModelRow, Resolved, VersionRow
from service.store.tables.registry import Promotion
from service.usecases import comparisons, datasets, jobs, papers, workers
from service.usecases.jobs import JobView

_HISTORY = 10_000  # moves of one alias that a rollback looks back on


@dataclass(frozen=True)
class ModelView:
    row: ModelRow
    versions: Sequence[VersionRow]
    aliases: Mapping[str, int]


@dataclass(frozen=True)
class PromotionView:
    """One move of an alias, in version numbers."""

    id: int
    alias: str
    action: str
    from_version: int | None
    to_version: int
    principal_id: UUID
    reason: str
    forced: bool
    comparison: Mapping[str, Any] | None
    at: Any


def resolve(session: Session, reference: str, pointer: str, *, task: str | None = None) -> Resolved:
    """The version that `name`, `name@alias` or `name:version` in a body means."""
    named = Reference.parse(reference, pointer)
    found = store.resolve(session, named.name, alias=named.alias, version=named.version)
    if found is None:
        raise InvalidInput(
            "The model is not known.",
            code="unknown_model",
            errors=[FieldError(pointer, "no such model, version or alias")],
        )
    if task is not None and found.task != task:
        raise ModelRefused(f"The model's task is {found.task}; this needs {task}.")
    return found


def resolve_reader(session: Session, reference: str | None, pointer: str, *, task: str) -> Resolved:
    """The version that reads; where none is named, the champion of the first default reader that has one."""
    if reference is None:
        found = (name for name in DEFAULT_READERS if store.resolve(session, name, alias=CHAMPION))
        reference = next(found, DEFAULT_READERS[0])
    return resolve(session, reference, pointer, task=task)


def list_models(session: Session, _principal: Principal, *, limit: int, after: str | None) -> list[ModelView]:
    return _views(session, store.models(session, limit=limit, after=after))


def get_model(session: Session, _principal: Principal, name: str) -> ModelView:
    return _views(session, [_model(session, name)])[0]


def get_version(session: Session, _principal: Principal, name: str, number: int) -> VersionRow:
    found = store.version(session, _model(session, name).id, number)
    if found is None:
        raise NotFound("The model has no such version.")
    return found


def promote(
    session: Session,
    principal: Principal,
    name: str,
    alias: str,
    *,
    version: int,
    reason: str,
    force: bool = False,
) -> PromotionView:
    """Point the alias at a version; who did it and why is kept for good.

    What is worse than the champion does not take its place, unless it is forced; that is kept too.
    """
    model = _movable_model(session, principal, name)
    target = store.version(session, model.id, version)
    if target is None:
        raise InvalidInput(
            "The model has no such version.",
            code="unknown_version",
            errors=[FieldError("/version", "no such version")],
        )
    # Locked before it is compared with: the champion of the comparison is the one that goes.
    store.current(session, model.id, alias)
    compared = comparisons.with_champion(session, model, target) if alias == CHAMPION else None
    refused = compared is not None and compared.refuses
    if compared is not None and refused and not force:
        raise WorseThanChampion(compared)
    return _move(
        session,
        principal,
        model,
        alias,
        to=target.id,
        action="promote",
        reason=reason,
        forced=refused,
        comparison=None if compared is None else compared.to_json(),
    )


def rollback(session: Session, principal: Principal, name: str, alias: str, *, reason: str) -> PromotionView:
    """Point the alias at the version before the present one; each further call goes one step further back."""
    model = _movable_model(session, principal, name)
    store.current(session, model.id, alias)
    earlier = _before_current(store.promotions(session, model.id, limit=_HISTORY, alias=alias))
    if earlier is None:
        raise Conflict("There is no earlier version to go back to.", code="nothing_to_roll_back")
    return _move(session, principal, model, alias, to=earlier, action="rollback", reason=reason)


def promotions(
    session: Session, _principal: Principal, name: str, *, limit: int, before_id: int | None
) -> list[PromotionView]:
    model = _model(session, name)
    return _promotion_views(
        session, model, store.promotions(session, model.id, limit=limit, before_id=before_id)
    )


def import_version(
    session: Session, principal: Principal, name: str, *, weights: NewFile, spec: object
) -> VersionRow:
    """A version made elsewhere, from safetensors and a spec; it is nobody's champion until promoted."""
    checked = dict(check_spec(spec, name))
    _require_buildable(session, checked["builder"])
    new = versions.NewVersion(
        name=name,
        spec=checked,
        metrics={},
        weights_key=weights.object_key,
        weights_sha256=weights.sha256,
        weights_bytes=weights.size_bytes,
    )
    made = versions.register(session, tenant_id=principal.tenant_id, new=new)
    _record(session, principal, made.model_version_id, action=audit.Action.CREATE, operation="models.import")
    papers.ask(session, principal, made.model_version_id)
    return get_version(session, principal, name, made.version)


def _require_buildable(session: Session, builder: Mapping[str, Any]) -> None:
    """As deep as the door can look: whether the rest fits is told by the first job that loads the version."""
    workers.require_known(session, "builders", builder["name"], "/spec/builder/name")
    params = builder.get("params")
    backbone = params.get("backbone") if isinstance(params, Mapping) else None
    if isinstance(backbone, str):
        workers.require_known(session, "backbones", backbone, "/spec/builder/params/backbone")


def evaluate(
    session: Session, principal: Principal, name: str, number: int, *, dataset_id: UUID, max_queued: int
) -> JobView:
    """Measure a version on a dataset; the answer joins those of its evaluation."""
    version = get_version(session, principal, name, number)
    datasets.require_ready(session, dataset_id, "/dataset_id")
    spec = {"model_version_id": str(version.id), "dataset_id": str(dataset_id)}
    return jobs.submit(session, principal, Kind.EVALUATION, spec, max_queued=max_queued)


def evaluations(
    session: Session, principal: Principal, name: str, number: int
) -> tuple[VersionRow, list[Any]]:
    version = get_version(session, principal, name, number)
    return version, store.evaluations(session, version.id, limit=100)


def _views(session: Session, rows: Sequence[ModelRow]) -> list[ModelView]:
    ids = [row.id for row in rows]
    found = store.versions(session, ids)
    named = store.aliases(session, ids)
    return [
        ModelView(
            row,
            [version for version in found if version.model_id == row.id],
            {alias: number for model_id, alias, number in named if model_id == row.id},
        )
        for row in rows
    ]


def _model(session: Session, name: str) -> ModelRow:
    found = store.find_model(session, name)
    if found is None:
        raise NotFound("There is no such model, or it is not yours.")
    return found


def _movable_model(session: Session, principal: Principal, name: str) -> ModelRow:
    model = _model(session, name)
    if model.shared and principal.tenant_id != SYSTEM_TENANT_ID:
        raise Conflict(
            "A shared model is the same for everybody; import it to move its aliases.", code="shared"
        )
    return model


def _move(
    session: Session,
    principal: Principal,
    model: ModelRow,
    alias: str,
    *,
    to: UUID,
    action: str,
    reason: str,
    forced: bool = False,
    comparison: Mapping[str, Any] | None = None,
) -> PromotionView:
    before = store.current(session, model.id, alias)
    if before == to:
        raise Conflict("The alias names this version already.", code="already_there")
    store.move_alias(session, tenant_id=principal.tenant_id, model_id=model.id, alias=alias, version_id=to)
    made = store.insert_promotion(
        session,
        tenant_id=principal.tenant_id,
        model_id=model.id,
        alias=alias,
        action=action,
        from_version_id=before,
        to_version_id=to,
        principal_id=principal.id,
        reason=reason,
        forced=forced,
        comparison=comparison,
    )
    _record(session, principal, to, action=audit.Action.UPDATE, operation=f"models.{action}")
    return _promotion_views(session, model, [made])[0]


def _before_current(history: Sequence[Promotion]) -> UUID | None:
    """The history (newest first) is a stack: a promotion puts a version on it, a rollback takes one off."""
    stack: list[UUID] = []
    for move in reversed(history):
        if move.action == "promote":
            stack.append(move.to_version_id)
        else:
            stack.pop()
    return stack[-2] if len(stack) > 1 else None


def _promotion_views(session: Session, model: ModelRow, moves: Sequence[Promotion]) -> list[PromotionView]:
    numbers = {version.id: version.version for version in store.versions(session, [model.id])}
    return [
        PromotionView(
            move.id,
            move.alias,
            move.action,
            None if move.from_version_id is None else numbers[move.from_version_id],
            numbers[move.to_version_id],
            move.principal_id,
            move.reason,
            move.forced,
            move.comparison,
            move.at,
        )
        for move in moves
    ]


def _record(
    session: Session, principal: Principal, version_id: UUID, *, action: audit.Action, operation: str
) -> None:
    audit.record(
        session,
        principal,
        action=action,
        operation=operation,
        object_type="model_version",
        object_id=version_id,
    )

"""The workers, and what they can run between them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from service.domain.access import Principal
from service.domain.errors import FieldError, InvalidInput
from service.store import workers as store
from service.store.workers import WorkerInfo

_ALIVE_S = 60.0


def list_workers(session: Session, _principal: Principal) -> list[WorkerInfo]:
    return store.live(session, within_s=_ALIVE_S)


def catalogue(session: Session, _principal: Principal, section: str) -> list[Mapping[str, Any]]:
    """Entries of one section (`backbones`, `recipes`) over all workers, each once, by name."""
    return [entry for _, entry in sorted(_entries(session, section).items())]


def require_known(session: Session, section: str, name: str, pointer: str) -> None:
    """Refuse what no worker's catalogue has; while no worker is there to ask, the job finds out."""
    known = _entries(session, section)
    if known and name not in known:
        raise InvalidInput(
            "No worker knows this.",
            code="not_in_catalogue",
            errors=[FieldError(pointer, f"one of: {', '.join(sorted(known))}")],
        )


def _entries(session: Session, section: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for worker in store.live(session, within_s=_ALIVE_S):
        for entry in worker.catalogue.get(section, ()):
            described = entry if isinstance(entry, Mapping) else {"name": entry}
            found.setdefault(str(described["name"]), described)
    return found

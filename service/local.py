"""The installation of this machine, spoken to without HTTP: its settings, its database, its keys."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.orm import Session

from service import connections
from service.domain.access import Role
from service.domain.errors import InvalidInput, Unavailable
from service.domain.ids import DEFAULT_TENANT_ID
from service.settings import Role as DatabaseRole
from service.settings import Settings
from service.store import keys as key_store
from service.store.keys import KeyRow
from service.store.session import unit_of_work
from service.usecases import keys

if TYPE_CHECKING:
    from service.embedded import Embedded

OPERATOR_ROLES = frozenset(Role) - {Role.ADMIN}


def on_embedded(settings: Settings, embedded: "Embedded", *, role: DatabaseRole) -> Settings:
    """The settings as one part of this machine gets them: its own password, and no more than it needs."""
    own = {
        "home": embedded.home,
        "database_url": embedded.database_url(),
        "database_password_file": embedded.password_file(role),
        "object_store_url": (embedded.home / "objects").as_uri(),
    }
    if role == "api":
        own["key_pepper_file"] = embedded.key_pepper_file
    else:
        own["redis_url"] = embedded.redis_url
    return settings.model_copy(update=own)


def complete(settings: Settings, *, role: DatabaseRole) -> Settings:
    """Settings that name a database: their own, or the running one that `enteron up` keeps in its folder."""
    if not settings.embedded:
        return settings
    from service.embedded import Embedded  # noqa: PLC0415 - containers have no embedded servers

    if not (settings.home / "postgres").is_dir():
        raise Unavailable("There is no installation in this folder.", code="not_started")
    embedded = Embedded(settings.home)
    if not embedded.status().postgres:
        raise Unavailable("The database of this folder does not run.", code="not_started")
    return on_embedded(settings, embedded, role=role)


@contextmanager
def session(
    settings: Settings, *, role: DatabaseRole = "api", tenant_id: UUID = DEFAULT_TENANT_ID
) -> Iterator[Session]:
    """One transaction in the default tenant."""
    engine = connections.engine(complete(settings, role=role), role, pool_size=1)
    try:
        with unit_of_work(engine, tenant_id=tenant_id) as opened:
            yield opened
    finally:
        engine.dispose()


def issue_key(
    settings: Settings, *, name: str, roles: Iterable[Role], lifetime: timedelta = keys.LIFETIME
) -> keys.IssuedKey:
    used = complete(settings, role="api")
    if used.key_pepper_file is None:
        raise InvalidInput("ENTERON_KEY_PEPPER_FILE is not set.", code="missing_setting")
    pepper = keys.read_pepper(used.key_pepper_file)
    with session(used) as opened:
        return keys.issue(
            opened,
            None,
            tenant_id=DEFAULT_TENANT_ID,
            name=name,
            roles=roles,
            pepper=pepper,
            lifetime=lifetime,
        )


def list_keys(settings: Settings) -> list[KeyRow]:
    with session(settings) as opened:
        return key_store.page(opened, limit=1_000, before_id=None)


def revoke_key(settings: Settings, key_id: UUID) -> KeyRow:
    with session(settings) as opened:
        return keys.revoke(opened, None, key_id)

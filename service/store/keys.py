"""Principals and the keyed hashes of their API keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, or_, select, update
from sqlalchemy.orm import Session

from service.store.tables.access import ApiKey, PrincipalRow

_USED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class KeyRow:
    """A stored key; it holds no usable secret."""

    id: UUID
    tenant_id: UUID
    principal_id: UUID
    prefix: str
    secret_hmac: bytes
    roles: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


_COLUMNS = (
    ApiKey.id,
    ApiKey.tenant_id,
    ApiKey.principal_id,
    ApiKey.prefix,
    ApiKey.secret_hmac,
    ApiKey.roles,
    ApiKey.created_at,
    ApiKey.expires_at,
    ApiKey.last_used_at,
    ApiKey.revoked_at,
)


def find(session: Session, prefix: str) -> KeyRow | None:
    """The only read that is made before a tenant is known."""
    row = session.execute(select(*_COLUMNS).where(ApiKey.prefix == prefix)).one_or_none()
    return None if row is None else _key(row)


def touch(session: Session, key_id: UUID) -> None:
    """Note the use, at most once a minute: a write per request would be one row's hot spot."""
    stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - _USED_EVERY)
    session.execute(update(ApiKey).where(ApiKey.id == key_id, stale).values(last_used_at=func.now()))


def insert_principal(session: Session, *, principal_id: UUID, tenant_id: UUID, name: str) -> None:
    session.execute(insert(PrincipalRow).values(id=principal_id, tenant_id=tenant_id, name=name))


def principal_name(session: Session, principal_id: UUID) -> str:
    return session.execute(select(PrincipalRow.name).where(PrincipalRow.id == principal_id)).scalar_one()


def insert_key(
    session: Session,
    *,
    key_id: UUID,
    tenant_id: UUID,
    principal_id: UUID,
    prefix: str,
    secret_hmac: bytes,
    roles: Sequence[str],
    lifetime: timedelta,
) -> KeyRow:
    values = {
        "id": key_id,
        "tenant_id": tenant_id,
        "principal_id": principal_id,
        "prefix": prefix,
        "secret_hmac": secret_hmac,
        "roles": list(roles),
        "expires_at": func.now() + lifetime,
    }
    return _key(session.execute(insert(ApiKey).values(**values).returning(*_COLUMNS)).one())


def page(session: Session, *, limit: int, before_id: UUID | None) -> list[KeyRow]:
    """Keys of the tenant, newest first."""
    # Beside the tenant's policy stands the one for look-ups, which shows every tenant's rows.
    query = select(*_COLUMNS).where(
        ApiKey.tenant_id == func.current_setting("app.tenant").cast(ApiKey.tenant_id.type)
    )
    query = query.order_by(ApiKey.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(ApiKey.id < before_id)
    return [_key(row) for row in session.execute(query)]


def revoke(session: Session, key_id: UUID) -> KeyRow | None:
    """Ends a key now; a second time changes nothing."""
    ended = func.coalesce(ApiKey.revoked_at, func.now())
    row = session.execute(
        update(ApiKey).where(ApiKey.id == key_id).values(revoked_at=ended).returning(*_COLUMNS)
    ).one_or_none()
    return None if row is None else _key(row)


def _key(row: Row[*tuple[Any, ...]]) -> KeyRow:
    return KeyRow(**{**row._mapping, "roles": tuple(row.roles)})

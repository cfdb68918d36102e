"""API keys: `ent_<prefix>_<secret>`. Only a hash under the server's pepper is stored.

A key names its principal, tenant and roles; nothing in a request can change them.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.access import Principal, Role
from service.domain.errors import FieldError, InvalidInput, NotFound, Unauthenticated
from service.domain.ids import new_id
from service.store import audit
from service.store import keys as store
from service.store.keys import KeyRow
from service.store.session import set_context

LIFETIME = timedelta(days=90)
MAX_LIFETIME = timedelta(days=366)
_TOKEN = re.compile(r"ent_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_PEPPER_BYTES = 32


@dataclass(frozen=True)
class IssuedKey:
    """A new key; `token` is shown once and never stored."""

    token: str
    row: KeyRow


def read_pepper(path: Path) -> bytes:
    """The secret that keys the hashes; a short one refuses to start."""
    pepper = path.read_bytes().strip()
    if len(pepper) < _PEPPER_BYTES:
        raise InvalidInput(f"The key pepper has fewer than {_PEPPER_BYTES} bytes.", code="weak_pepper")
    return pepper


def issue(
    session: Session,
    actor: Principal | None,
    *,
    tenant_id: UUID,
    name: str,
    roles: Iterable[Role],
    pepper: bytes,
    lifetime: timedelta = LIFETIME,
) -> IssuedKey:
    """A key for a new principal. Without an actor the command line does it, on the server itself."""
    wanted = sorted(set(roles))
    if not wanted:
        raise InvalidInput("A key needs a role.", errors=[FieldError("/roles", "at least one")])
    if not timedelta(0) < lifetime <= MAX_LIFETIME:
        raise InvalidInput("A key lives at most a year.", errors=[FieldError("/expires_in_days", "1 to 366")])
    prefix, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    token = f"ent_{prefix}_{secret}"
    principal_id = new_id()
    store.insert_principal(session, principal_id=principal_id, tenant_id=tenant_id, name=name)
    row = store.insert_key(
        session,
        key_id=new_id(),
        tenant_id=tenant_id,
        principal_id=principal_id,
        prefix=prefix,
        secret_hmac=_keyed_hash(token, pepper),
        roles=wanted,
        lifetime=lifetime,
    )
    _record(session, actor, row.id, action=audit.Action.CREATE, operation="keys.create")
    return IssuedKey(token, row)


def name_of(session: Session, principal: Principal) -> str:
    """What the principal was called when its key was made."""
    return store.principal_name(session, principal.id)


def list_keys(session: Session, principal: Principal, *, limit: int, before_id: UUID | None) -> list[KeyRow]:
    _record(session, principal, None, action=audit.Action.READ, operation="keys.list")
    return store.page(session, limit=limit, before_id=before_id)


def revoke(session: Session, principal: Principal | None, key_id: UUID) -> KeyRow:
    """Ends a key for good; the API notices within its cache's few seconds."""
    row = store.revoke(session, key_id)
    if row is None:
        raise NotFound("No such key.")
    _record(session, principal, key_id, action=audit.Action.DELETE, operation="keys.revoke")
    return row


def prefix_of(token: str) -> str:
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise Unauthenticated("The key is not valid.")
    return found[1]


def look_up(session: Session, prefix: str) -> KeyRow | None:
    """The stored key of a prefix, its use noted; nothing is proven yet. The session has no tenant."""
    row = store.find(session, prefix)
    if row is not None and _is_usable(row):
        set_context(session, row.tenant_id, row.principal_id)
        store.touch(session, row.id)
    return row


def verify(row: KeyRow | None, token: str, pepper: bytes) -> Principal:
    """Who the token is, told in the same time and words whatever is wrong with it."""
    stored = row.secret_hmac if row is not None else bytes(hashlib.sha256().digest_size)
    matches = hmac.compare_digest(stored, _keyed_hash(token, pepper))
    if row is None or not matches or not _is_usable(row):
        raise Unauthenticated("The key is not valid.")
    return Principal(row.principal_id, row.tenant_id, frozenset(Role(role) for role in row.roles))


def _is_usable(row: KeyRow) -> bool:
    return row.revoked_at is None and row.expires_at > datetime.now(UTC)


def _keyed_hash(token: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, token.encode(), "sha256")


def _record(
    session: Session, actor: Principal | None, key_id: UUID | None, *, action: audit.Action, operation: str
) -> None:
    audit.record(session, actor, action=action, operation=operation, object_type="api_key", object_id=key_id)

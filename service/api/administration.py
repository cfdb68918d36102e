"""Who am I, keys, the audit trail, the workers."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from service.api.creating import IdempotencyKey, once_answered, respond
from service.api.gate import Caller, GuardedRoute, needs
from service.api.paging import Cursor, Limit, Page, number_cursor, page, uuid_cursor
from service.api.problems import declared
from service.domain.access import Permission, Role
from service.store.keys import KeyRow
from service.store.tables.access import AuditEvent
from service.store.workers import WorkerInfo
from service.usecases import audit, keys, workers
from service.usecases.idempotency import Answer
from service.usecases.keys import LIFETIME, MAX_LIFETIME

router = APIRouter(tags=["administration"], route_class=GuardedRoute)
Anyone = Annotated[Caller, needs(Permission.SELF)]
KeyKeeper = Annotated[Caller, needs(Permission.KEYS_WRITE)]
Auditor = Annotated[Caller, needs(Permission.AUDIT_READ)]
Operator = Annotated[Caller, needs(Permission.WORKERS_READ)]


class MeBody(BaseModel):
    principal_id: UUID
    name: str
    tenant_id: UUID
    roles: list[Role]
    permissions: list[Permission]


class KeyRequest(BaseModel):
    """A key for a new principal called `name`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    roles: list[Role] = Field(min_length=1, max_length=len(Role))
    expires_in_days: int = Field(strict=True, default=LIFETIME.days, ge=1, le=MAX_LIFETIME.days)


class KeyBody(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    principal_id: UUID
    prefix: str
    roles: list[Role]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewKeyBody(KeyBody):
    """The only answer that holds the key itself."""

    key: str


class AuditBody(BaseModel):
    """One record; fields after FHIR AuditEvent."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    principal_id: UUID | None
    action: str
    outcome: int
    operation: str
    object_type: str
    object_id: UUID | None


class WorkerBody(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    queues: list[str]
    batch_size: int
    state: str
    versions: dict[str, Any]
    catalogue: dict[str, Any]
    started_at: datetime
    beat_at: datetime


@router.get("/me", response_model=MeBody, responses=declared())
def me(caller: Anyone) -> MeBody:
    """Who the key acts as, and what it may do."""
    who = caller.principal
    with caller.work() as session:
        name = keys.name_of(session, who)
    return MeBody(
        principal_id=who.id,
        name=name,
        tenant_id=who.tenant_id,
        roles=sorted(who.roles),
        permissions=sorted(who.permissions),
    )


@router.post("/keys", status_code=201, response_model=NewKeyBody, responses=declared(409, 413, 415, 422))
async def create_key(
    body: KeyRequest, request: Request, caller: KeyKeeper, _key: IdempotencyKey = None
) -> Response:
    """Make a key. It is shown in this answer and never again, so a repeat of the request answers 409."""

    def make(session: Session) -> Answer:
        issued = keys.issue(
            session,
            caller.principal,
            tenant_id=caller.principal.tenant_id,
            name=body.name,
            roles=body.roles,
            pepper=caller.context.pepper,
            lifetime=timedelta(days=body.expires_in_days),
        )
        shown = NewKeyBody.model_validate({**vars(issued.row), "key": issued.token})
        return Answer(201, shown.model_dump(mode="json"), secret=True)

    return respond(await once_answered(request, caller, content=body.model_dump, make=make))


@router.get("/keys", response_model=Page[KeyBody], responses=declared(422))
def list_keys(caller: KeyKeeper, limit: Limit = 50, cursor: Cursor = None) -> Page[KeyBody]:
    """The tenant's keys, newest first, ended ones too."""
    before_id = uuid_cursor(cursor)
    with caller.work() as session:
        found = keys.list_keys(session, caller.principal, limit=limit + 1, before_id=before_id)
    return page(found, limit, item=_key_body, cursor=lambda row: row.id)


@router.delete("/keys/{key_id}", response_model=KeyBody, responses=declared(404, 422))
def revoke_key(key_id: UUID, caller: KeyKeeper) -> KeyBody:
    """End a key; requests with it are refused within five seconds."""
    with caller.work() as session:
        return _key_body(keys.revoke(session, caller.principal, key_id))


@router.get("/audit", response_model=Page[AuditBody], responses=declared(422))
def list_audit(caller: Auditor, limit: Limit = 50, cursor: Cursor = None) -> Page[AuditBody]:
    """The tenant's audit trail, newest first; this look is on record too."""
    before_id = number_cursor(cursor)
    with caller.work() as session:
        found = audit.page(session, caller.principal, limit=limit + 1, before_id=before_id)
    return page(found, limit, item=_audit_body, cursor=lambda event: event.id)


@router.get("/workers", response_model=Page[WorkerBody], responses=declared())
def list_workers(caller: Operator) -> Page[WorkerBody]:
    """The workers that beat within the last minute."""
    with caller.work() as session:
        found = workers.list_workers(session, caller.principal)
    return Page(items=[_worker_body(worker) for worker in found], next_cursor=None)


def _key_body(row: KeyRow) -> KeyBody:
    return KeyBody.model_validate(row)


def _audit_body(event: AuditEvent) -> AuditBody:
    return AuditBody.model_validate(event)


def _worker_body(worker: WorkerInfo) -> WorkerBody:
    return WorkerBody.model_validate(worker)

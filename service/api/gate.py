"""Who comes in: every route names the permission it needs, and it is asked before the body is read."""

import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from service.api.bodies import BoundedRequest
from service.api.hub import Hub
from service.api.links import PREFIX
from service.domain.access import Permission, Principal
from service.domain.errors import Forbidden, Unauthenticated
from service.settings import Limits, Settings
from service.store.keys import KeyRow
from service.store.objects import ObjectStore
from service.store.session import unit_of_work
from service.usecases import keys
from service.usecases.quota import Quota

# A revoked key ends within so many seconds; open event streams end by themselves (`jobs.STREAM_S`).
REMEMBER_S = 5.0
_REMEMBERED = 10_000

bearer = HTTPBearer(auto_error=False, description="An API key: `ent_<prefix>_<secret>`.")


class Gate:
    """Turns a bearer token into a principal, asking the database at most every few seconds per key."""

    def __init__(self, engine: Engine, pepper: bytes, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._pepper, self._clock = engine, pepper, clock
        self._known: dict[str, tuple[float, KeyRow]] = {}

    async def principal(self, request: Request) -> Principal:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("Send the header Authorization: Bearer <key>.")
        prefix = keys.prefix_of(token.strip())
        return keys.verify(await self._row(prefix), token.strip(), self._pepper)

    async def _row(self, prefix: str) -> KeyRow | None:
        until, row = self._known.get(prefix, (0.0, None))
        if self._clock() < until:
            return row
        row = await run_in_threadpool(self._look_up, prefix)
        self._known.pop(prefix, None)
        if row is not None and len(self._known) < _REMEMBERED:
            self._known[prefix] = (self._clock() + REMEMBER_S, row)
        return row

    def _look_up(self, prefix: str) -> KeyRow | None:
        with unit_of_work(self._engine, tenant_id=None) as session:
            return keys.look_up(session, prefix)


@dataclass(frozen=True)
class Context:
    """What the routes of one application share."""

    settings: Settings
    limits: Limits
    engine: Engine
    objects: ObjectStore
    pepper: bytes
    gate: Gate
    hub: Hub
    quota: Quota


@dataclass(frozen=True)
class Caller:
    """Whoever made the request, and the means to act for them."""

    principal: Principal
    context: Context

    def link(self, path: str) -> str:
        """A path of the API as the client reaches it: a proxy may have stripped a prefix."""
        return f"{self.context.settings.root_path}{PREFIX}{path}"

    def work(self) -> AbstractContextManager[Session]:
        """One transaction. It is committed when the block ends, so before the answer is sent.

        Opened inside a route's own thread, not by a dependency: a connection that waits for a thread while
        threads wait for connections would stop everything.
        """
        principal = self.principal
        return unit_of_work(self.context.engine, tenant_id=principal.tenant_id, principal_id=principal.id)


class Needs:
    """Dependency that names a route's permission and hands in the caller."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, request: Request, _key: Annotated[Any, Security(bearer)] = None) -> Caller:
        caller: Caller = request.state.caller
        return caller


def needs(permission: Permission) -> Any:
    return Depends(Needs(permission))


class GuardedRoute(APIRoute):
    """A route that cannot be made without a permission, nor reached without it."""

    @property
    def permission(self) -> Permission:
        named = [
            dependency.call.permission
            for dependency in self.dependant.dependencies
            if isinstance(dependency.call, Needs)
        ]
        if len(named) != 1:
            raise RuntimeError(f"{self.path} names {len(named)} permissions instead of one")
        return named[0]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()
        permission = self.permission

        async def handle(request: Request) -> Response:
            context: Context = request.app.state.context
            principal = await context.gate.principal(request)
            if not principal.may(permission):
                raise Forbidden("Your roles do not allow this.")
            request.state.caller = Caller(principal, context)
            bounded = BoundedRequest(request.scope, request.receive)
            bounded.max_json_bytes = context.limits.max_json_bytes
            if self.body_field is not None:
                await bounded.json()
            return await inner(bounded)

        return handle

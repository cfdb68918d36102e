"""The outermost layer: correlation id, security headers, access log, metrics, and a silent 500."""

import time
import traceback
from collections.abc import MutableMapping
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import problems
from service.domain.ids import new_id

MAX_HEADER_BYTES = 16 << 10
CLIENT_GONE = 499  # nginx's word for it; never sent

_API_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}

_REQUESTS = Counter("enteron_http_requests", "Answered requests.", ["method", "route", "status"])
_SECONDS = Histogram(
    "enteron_http_seconds",
    "Time to the end of the answer.",
    ["route"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5, 60),
)
_log = structlog.get_logger("access")


class Edge:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, send)
        try:
            refusal = _refusal(scope)
            if refusal is None:
                await self._app(scope, receive, visit.send)
            else:
                await refusal(scope, receive, visit.send)
        except ClientDisconnect:
            visit.status = CLIENT_GONE
        except Exception as error:
            await visit.fail(error, receive)
        finally:
            visit.note()


class _Visit:
    """One request on its way through."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._begun = time.monotonic()
        self._started = False
        self.status = 500
        self.correlation_id = _correlation_id(scope)
        scope.setdefault("state", {})["correlation_id"] = self.correlation_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            self.status = message["status"]
            path = self._scope["path"].removeprefix(self._scope.get("root_path", ""))
            _dress(MutableHeaders(scope=message), path, self.correlation_id)
        await self._send(message)

    async def fail(self, error: Exception, receive: Receive) -> None:
        # Frames only: an exception's text may quote a row, a path or a value.
        place = traceback.extract_tb(error.__traceback__)[-1]
        _log.error(
            "request.failed",
            correlation_id=self.correlation_id,
            exception=type(error).__name__,
            code=f"{place.name}:{place.lineno}",
        )
        if self._started:
            raise error
        response = problems.answer(
            Request(self._scope), 500, code="internal_error", detail="A mistake of ours; it is in the log."
        )
        await response(self._scope, receive, self.send)

    def note(self) -> None:
        route = _template(self._scope)
        seconds = time.monotonic() - self._begun
        method = self._scope["method"]
        _REQUESTS.labels(method, route, self.status).inc()
        _SECONDS.labels(route).observe(seconds)
        _log.info(
            "request",
            method=method,
            route=route,
            status=self.status,
            ms=round(seconds * 1000, 1),
            correlation_id=self.correlation_id,
        )


def _refusal(scope: Scope) -> Any:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        return problems.answer(
            Request(scope), 431, code="headers_too_large", detail=f"Over {MAX_HEADER_BYTES} bytes of headers."
        )
    # One range costs one read; thousands once cost quadratic time (CVE-2025-62727).
    if any(name == b"range" and b"," in value for name, value in headers):
        return problems.answer(
            Request(scope), 416, code="too_many_ranges", detail="At most one range is served."
        )
    return None


def _dress(headers: MutableHeaders, path: str, correlation_id: UUID) -> None:
    is_api = path.startswith(("/api/", "/healthz/", "/metrics", "/openapi"))
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", _API_POLICY if is_api else PAGE_POLICY)
    headers.setdefault("Cache-Control", "private, no-store" if is_api else "no-cache")
    headers["X-Request-ID"] = str(correlation_id)


def _correlation_id(scope: Scope) -> UUID:
    """The caller's, if it is a UUID: anything else could carry text into our log."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            try:
                return UUID(value.decode("ascii"))
            except ValueError:
                break
    return new_id()


def _template(scope: MutableMapping[str, Any]) -> str:
    """The route's pattern, never the path: a path holds ids, and a wrong one anything."""
    route = scope.get("route")
    return getattr(route, "path_format", None) or "other"

"""HTTP as Enteron speaks it: keys, retries that are safe to make, problems as exceptions."""

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from service.client.errors import Broken, Refused, Unreachable

API = "/api/v1"
_RETRY = frozenset({429, 502, 503, 504})
_MAX_PAUSE_S = 10.0


@dataclass(frozen=True)
class Body:
    """What a request carries; made anew for each attempt, so that a half-read stream is never sent again."""

    content: Any = None
    files: Any = None
    data: Mapping[str, str] | None = None
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Transport:
    """Sends requests. A repeat carries the Idempotency-Key of the first, so nothing is ever made twice."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        timeout_s: float = 60.0,
        attempts: int = 4,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._attempts = attempts
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            transport=transport,
        )

    @property
    def headers(self) -> httpx.Headers:
        """What every request carries."""
        return self._http.headers

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        return self.send("GET", path, params=params).json()

    def post(self, path: str, body: Callable[[], Body] | Mapping[str, Any]) -> Any:
        return self.send("POST", path, body=body).json()

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Callable[[], Body] | Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        """One answer below 400, or an `EnteronError`."""
        headers = {} if method == "GET" else {"Idempotency-Key": str(uuid.uuid4())}
        given = {name: value for name, value in (params or {}).items() if value is not None}
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                response = self._once(method, _address(path), _make(body), headers=headers, params=given)
            except httpx.TransportError as problem:
                if last:
                    raise Unreachable(f"no answer from {self.url} ({type(problem).__name__})") from problem
                self._sleep(_pause_s(attempt, None))
                continue
            if response.status_code in _RETRY and not last:
                self._sleep(_pause_s(attempt, response.headers.get("Retry-After")))
                continue
            return _checked(response)
        raise AssertionError("the last attempt returns or raises")

    def _once(
        self, method: str, path: str, body: Body, *, headers: Mapping[str, str], params: Mapping[str, Any]
    ) -> httpx.Response:
        return self._http.request(
            method,
            path,
            params=params,
            content=body.content,
            files=body.files,
            data=body.data,
            json=body.json,
            headers={**headers, **body.headers},
        )

    @contextmanager
    def stream(self, path: str, *, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """An answer read piece by piece; not repeated, for only the caller knows how far it got."""
        try:
            with self._http.stream("GET", _address(path), headers=headers) as response:
                if response.is_error:
                    response.read()
                    _checked(response)
                yield response
        except httpx.TransportError as problem:
            raise Unreachable(f"the answer of {self.url} broke off ({type(problem).__name__})") from problem

    def pages(self, path: str, **params: Any) -> Iterator[Any]:
        """The items of a list, over all its pages."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **params)
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return


def _address(path: str) -> str:
    """Links in answers are whole paths already; health stands outside the API."""
    return path if path.startswith(("/api/", "/healthz/")) else API + path


def _make(body: Callable[[], Body] | Mapping[str, Any] | None) -> Body:
    if body is None:
        return Body()
    return Body(json=dict(body)) if isinstance(body, Mapping) else body()


def _pause_s(attempt: int, retry_after: str | None) -> float:
    if retry_after is not None and retry_after.isdigit():
        return min(float(retry_after), _MAX_PAUSE_S)
    return float(0.2 * 2**attempt * random.uniform(0.5, 1.0))


def _checked(response: httpx.Response) -> httpx.Response:
    status = response.status_code
    if status < 400:
        return response
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict) or "code" not in problem:
        # Another program answers at this address, or a proxy in between.
        raise Broken(f"the address answered {status} with something that is no answer of Enteron")
    if status in {502, 503, 504}:
        raise Unreachable(f"{problem.get('detail', 'the service is not ready')} ({problem['code']})")
    if status >= 500:
        raise Broken(f"the service failed: {problem.get('detail')} ({problem['code']})")
    raise Refused(status, problem)

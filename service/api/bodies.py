"""Reading bodies with suspicion: limits hold while bytes arrive, whatever Content-Length claims."""

import json
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
from starlette.requests import Request

from service.api.problems import HttpProblem
from service.domain.errors import FieldError, InvalidInput, TooLarge, Unsupported

JSON_DEPTH = 32
_IDLE_S = 20.0
_MIN_RATE = 16 << 10  # bytes per second ...
_RATE_AFTER_S = 10.0  # ... once a body has lasted so long


class BoundedRequest(Request):
    """A request whose JSON body is bounded, one object without doubled keys, and fit for the database."""

    max_json_bytes = 1 << 20

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            if media_type(self) != "application/json":
                raise Unsupported("This operation takes application/json.")
            chunks = [chunk async for chunk in stream(self, max_bytes=self.max_json_bytes)]
            self._body = b"".join(chunks)
            self._json = parse_json(self._body)
        return self._json


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def stream(request: Request, *, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in pieces; too large, too slow or compressed is refused as soon as it shows."""
    # A small compressed body can grow without bound; nobody needs to send one.
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Unsupported("Content-Encoding is not taken.", code="content_encoding")
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > max_bytes:
        raise TooLarge(f"The body is over {max_bytes} bytes.")
    received, begun = 0, time.monotonic()
    pieces = aiter(request.stream())
    while True:
        try:
            with anyio.fail_after(_IDLE_S):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HttpProblem(408, "body_too_slow", "The body stopped coming.") from None
        received += len(piece)
        if received > max_bytes:
            raise TooLarge(f"The body is over {max_bytes} bytes.")
        lasted_s = time.monotonic() - begun
        if lasted_s > _RATE_AFTER_S and received < _MIN_RATE * lasted_s:
            raise HttpProblem(
                408, "body_too_slow", f"The body comes at less than {_MIN_RATE} bytes a second."
            )
        if piece:
            yield piece


def parse_json(data: bytes) -> Any:
    """JSON without doubled keys, non-finite numbers, deep nesting, or text that no database takes."""
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise InvalidInput(
            "The body is not JSON as this service takes it.",
            code="invalid_json",
            errors=[FieldError("", "JSON with unique keys and finite numbers, in UTF-8")],
        ) from None
    _check(value, "", JSON_DEPTH)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("doubled key")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _check(value: Any, pointer: str, depth: int) -> None:
    if depth == 0:
        raise InvalidInput(
            "The body is nested too deep.", code="invalid_json", errors=[FieldError("", "too deep")]
        )
    if isinstance(value, str):
        check_text(value, pointer)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, f"{pointer}/{index}", depth - 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key, pointer)
            _check(item, f"{pointer}/{key}", depth - 1)


def check_text(text: str, pointer: str) -> None:
    """PostgreSQL stores neither NUL nor half of a surrogate pair."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(
            "A text has a character that cannot be stored.",
            code="invalid_text",
            errors=[FieldError(pointer, "NUL or a lone surrogate")],
        )

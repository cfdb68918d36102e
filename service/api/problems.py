"""Errors as RFC 9457 problem documents. The only place where an error class becomes an HTTP status."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import compile_path

from service.domain import errors
from service.domain.errors import FieldError, ServiceError
from service.store.objects import ObjectCorrupt, ObjectMissing

Body = TypeVar("Body", bound=BaseModel)

MEDIA_TYPE = "application/problem+json"

# The first class that fits decides, so the special ones stand before the general.
STATUS: Mapping[type[ServiceError], int] = {
    errors.InvalidInput: 422,
    errors.ModelRefused: 422,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.Unsupported: 415,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
    ObjectMissing: 500,
    ObjectCorrupt: 500,
}
_HTTP_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}


class FieldProblem(BaseModel):
    """One wrong place in the input."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """What went wrong; `code` is stable, `instance` names the request in the log."""

    model_config = ConfigDict(title="Problem")

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    errors: list[FieldProblem] | None = None


class HttpProblem(Exception):
    """A refusal that only HTTP has a word for: a slow body, too many ranges."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


Responses = dict[int | str, dict[str, Any]]


def declared(*statuses: int) -> Responses:
    """`responses=` of a route: these problems, and those that every route can give."""
    everywhere = {401, 403, 408, 429, 500, 503}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted(everywhere | set(statuses))
    }


def content(*media_types: str, description: str) -> Responses:
    """`responses=` of a route that answers bytes."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"description": description, "content": dict.fromkeys(media_types, schema)}}


def answer(
    request: Request,
    status: int,
    *,
    code: str,
    detail: str,
    title: str | None = None,
    field_errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "instance": f"urn:uuid:{request.state.correlation_id}",
    }
    if field_errors:
        body["errors"] = [{"pointer": error.pointer, "detail": error.detail} for error in field_errors]
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def parsed(kind: type[Body], value: Any) -> Body:
    """A body that the framework could not parse by itself, because the route takes several kinds."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]
        raise RequestValidationError(faults) from None


def install(app: FastAPI) -> None:
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(HttpProblem, _http_problem)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)


async def _service_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, ServiceError):
        raise error
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
    return answer(
        request,
        status,
        code=error.code,
        detail=error.detail,
        title=error.title,
        field_errors=error.errors,
        headers=_headers(error),
    )


def _headers(error: ServiceError) -> dict[str, str]:
    if isinstance(error, errors.RateLimited | errors.Unavailable):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    return {}


async def _http_problem(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HttpProblem):
        raise error
    # What is left of the body is not read; the connection cannot be used again.
    headers = {"Connection": "close"} if error.status == HTTPStatus.REQUEST_TIMEOUT else {}
    return answer(request, error.status, code=error.code, detail=error.detail, headers=headers)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    found = [FieldError(_pointer(fault["loc"]), fault["msg"]) for fault in error.errors()]
    return answer(
        request,
        422,
        code=errors.InvalidInput.code,
        title=errors.InvalidInput.title,
        detail="The request does not have the form this operation takes.",
        field_errors=found,
    )


def _pointer(location: Sequence[int | str]) -> str:
    """JSON Pointer into the body; parameters that stand elsewhere are named by their place."""
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in location]
    return "".join(f"/{step}" for step in (steps[1:] if steps[0] == "body" else steps))


async def _http_exception(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    phrase = HTTPStatus(error.status_code).phrase
    code = _HTTP_CODES.get(error.status_code, phrase.lower().replace(" ", "_"))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request) or headers.get("Allow", "")
    return answer(request, error.status_code, code=code, detail=f"{phrase}.", headers=headers)


def _allowed(request: Request) -> str:
    """Every method of the address: the framework names those of the first route that fits it only."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return ", ".join(
        sorted(
            method.upper()
            for template, methods in request.app.openapi()["paths"].items()
            if compile_path(template)[0].match(path)
            for method in methods
        )
    )

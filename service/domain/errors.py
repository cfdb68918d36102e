"""What can go wrong, in words that may be shown to anybody: no names, paths, identifiers or pixel values.

HTTP-free: `service.api.problems` alone maps a class to a status, workers store the same `code` on the job.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One wrong place in the input, by JSON Pointer (RFC 6901)."""

    pointer: str
    detail: str


class ServiceError(Exception):
    """Base of everything the application says no to; `code` is stable, `detail` is public."""

    code = "error"
    title = "The request could not be carried out."
    errors: Sequence[FieldError] = ()

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class InvalidInput(ServiceError):
    code = "invalid_input"
    title = "The input is not valid."

    def __init__(self, detail: str, *, code: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail, code=code)
        self.errors = tuple(errors)


class Unauthenticated(ServiceError):
    code = "unauthenticated"
    title = "A valid key is needed."


class Forbidden(ServiceError):
    code = "forbidden"
    title = "Your roles do not allow this."


class NotFound(ServiceError):
    code = "not_found"
    title = "There is no such thing, or it is not yours."


class Conflict(ServiceError):
    code = "conflict"
    title = "The request conflicts with what is stored."


class InvalidTransition(Conflict):
    code = "invalid_transition"
    title = "The job is in a state that does not allow this."


class DuplicateSubmission(Conflict):
    code = "idempotency_key_reused"
    title = "The idempotency key was used for another request."


class TooLarge(ServiceError):
    code = "too_large"
    title = "The input is over a size limit."


class RateLimited(ServiceError):
    code = "rate_limited"
    title = "Too many requests."

    def __init__(self, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unsupported(ServiceError):
    code = "unsupported"
    title = "This kind of file is not supported."


class ModelRefused(ServiceError):
    code = "model_refused"
    title = "The input is outside what the model accepts."


class Unavailable(ServiceError):
    """A dependency is away: the only retryable family."""

    code = "unavailable"
    title = "A part of the service is not reachable just now."

    def __init__(self, detail: str, *, code: str | None = None, retry_after_s: int = 2) -> None:
        super().__init__(detail, code=code)
        self.retry_after_s = retry_after_s

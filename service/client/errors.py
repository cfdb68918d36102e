"""What can go wrong between a program and Enteron; `str()` of each is one line that says what is wrong."""

from typing import Any

from service.client.resources import Job


class EnteronError(Exception):
    """Base of everything the client raises."""


class Unreachable(EnteronError):
    """Nobody answers, or the answer is that the service is not ready; trying again later may help."""


class Refused(EnteronError):
    """The service said no (4xx): a problem of RFC 9457."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", f"http_{status}"))
        self.title = str(problem.get("title", "The request was refused."))
        self.detail = str(problem.get("detail") or self.title)
        self.errors: list[dict[str, Any]] = problem.get("errors") or []
        places = "; ".join(f"{error.get('pointer', '')}: {error.get('detail', '')}" for error in self.errors)
        super().__init__(f"{self.detail} ({self.code})" + (f" [{places}]" if places else ""))


class Broken(EnteronError):
    """The service failed (5xx) or answered something that is no answer of Enteron."""


class JobFailed(EnteronError):
    """A job ended in `failed` or `cancelled`."""

    def __init__(self, job: Job) -> None:
        self.job = job
        error = job["error"] or {"code": job["state"], "title": "", "detail": "it was cancelled"}
        self.code = error["code"]
        super().__init__(
            f"the {job['kind']} job {job['state']}: {error['detail'] or error['title']} ({self.code})"
        )


class TimedOut(EnteronError):
    """The job goes on, but the caller did not want to wait longer."""

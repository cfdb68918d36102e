"""Errors as a person and a script want them: what is wrong, what to do, and an exit code."""

from service.client.errors import EnteronError, JobFailed, Refused, TimedOut, Unreachable
from service.domain.errors import ServiceError, Unavailable
from service.embedded_process import EmbeddedError

OK, PROBLEM, USAGE, REFUSED, UNREACHABLE, FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_BY_STATUS = {
    401: "Set ENTERON_API_KEY to a valid key, or run this where `enteron up` keeps its folder.",
    403: "Ask an administrator for a key with another role: `enteron key create --role ...`.",
    404: "Look it up: `enteron model list`, `enteron job list`.",
    409: "Look at what is stored first, then try again.",
    413: "Send less at once, or larger files as one zip.",
    415: "Send JPEG, PNG or TIFF images, or a zip of them.",
    422: "Correct the input and try again.",
    429: "Wait a moment and try again.",
}
_BY_JOB_CODE = {
    "cancelled": "Submit it again if it is still wanted.",
    "gave_up": "The work ended its worker several times: look at the worker's log, then at the input.",
    "deadline": "Give it less work, or ask for more time.",
}


class Complaint(Exception):
    """Something a command itself finds wrong."""

    def __init__(self, wrong: str, advice: str, *, exit_code: int = REFUSED, code: str = "complaint") -> None:
        super().__init__(wrong)
        self.advice = advice
        self.exit_code = exit_code
        self.code = code


def describe(problem: Exception) -> tuple[str, str, int] | None:
    """(what is wrong, what to do, exit code); None for anything that is a mistake of ours."""
    advice, exit_code = "Look at the service's log; `enteron doctor` tells what is wrong.", PROBLEM
    match problem:
        case Complaint():
            advice, exit_code = problem.advice, problem.exit_code
        case Refused():
            advice, exit_code = _BY_STATUS.get(problem.status, _BY_STATUS[422]), REFUSED
        case JobFailed():
            follow = f"If the cause has passed: `enteron job retry {problem.job['id']}`."
            advice, exit_code = _BY_JOB_CODE.get(problem.code, follow), FAILED
        case Unreachable():
            advice, exit_code = "Start it with `enteron up`, or set ENTERON_API_URL.", UNREACHABLE
        case TimedOut():
            advice, exit_code = "Watch it with `enteron job watch ID`.", UNREACHABLE
        case Unavailable():
            advice, exit_code = "Start it with `enteron up`, or look at its log.", UNREACHABLE
        case ServiceError():
            is_setting = problem.code in {"unknown_setting", "missing_setting"}
            advice, exit_code = "`enteron doctor` checks the installation.", USAGE if is_setting else REFUSED
        case EmbeddedError():
            advice = "`enteron doctor` tells what is wrong with this installation."
        case OSError() if problem.filename:
            return f"{problem.filename}: {problem.strerror}", "Check the path and its rights.", PROBLEM
        case EnteronError():
            pass
        case _:
            return None
    return str(problem), advice, exit_code


def as_json(problem: Exception, wrong: str, advice: str) -> dict[str, object]:
    code = getattr(problem, "code", type(problem).__name__.lower())
    return {"error": {"code": code, "detail": wrong, "advice": advice}}

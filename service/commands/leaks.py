"""What a leak check found, in a line."""

from collections.abc import Mapping
from typing import Any

_VERDICTS = {
    "clean": "clean",
    "doubtful": "doubtful, these figures may flatter",
    "leak": "a leak, these figures flatter",
}


def leaks_in_words(report: Mapping[str, Any] | None) -> str:
    """The verdict and every problem; what stopped the check where there is no verdict."""
    if not report:
        return "Leak check: not made."
    verdict = _VERDICTS.get(report["verdict"])
    if verdict is None:
        whys = "; ".join(entry["why"] for entry in report["not_checked"])
        return f"Leak check: not possible: {whys}."
    return f"Leak check: {'. '.join([verdict, *map(_problem_in_words, report['problems'])])}."


def _problem_in_words(problem: Mapping[str, Any]) -> str:
    label = f"{problem['label']}: " if problem["label"] else ""
    return f"{label}{problem['count']} of {problem['of']} {problem['detail']}"

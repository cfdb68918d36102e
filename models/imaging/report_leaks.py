"""What the leak check of `models.imaging.leaks` found, in the report."""

from collections.abc import Mapping
from typing import Any

from models.imaging.html import Html, element, join
from models.imaging.report_page import section, table
from models.imaging.report_words import NOT_MEASURED

_VERDICTS = {
    "clean": ("clean", "good"),
    "doubtful": ("doubtful: the figures may flatter", "warn"),
    "leak": ("a leak: the figures flatter", "bad"),
    "unknown": ("not known: nothing could be compared", "warn"),
}


def leak_section(leaks: Mapping[str, Any] | None) -> Html:
    if not leaks:
        body = element("p", f"Whether the sides of the split leak into each other: {NOT_MEASURED}.")
        return section("Leaks", body)
    # The verdict alone decides: notes are worth knowing and change nothing.
    said, colour = _VERDICTS.get(leaks["verdict"], (leaks["verdict"], "warn"))
    problems = [_problem(problem) for problem in leaks["problems"]]
    columns = ("found", "is a", "how many", "of", "that")
    return section(
        "Leaks",
        element("p", "Verdict: ", element("span", said, class_=colour)),
        table(columns, problems, numbers=frozenset({2, 3})) if problems else None,
        _not_checked(leaks.get("not_checked") or []),
    )


def _problem(problem: Mapping[str, Any]) -> list[str]:
    name = _words(problem["code"])
    label = problem.get("label")
    return [
        f"{label}: {name}" if label else name,
        problem["grade"],
        f"{problem['count']:,}",
        f"{problem['of']:,}",
        problem["detail"],
    ]


def _not_checked(entries: list[Mapping[str, Any]]) -> Html | None:
    if not entries:
        return None
    lines = (element("li", f"{_words(entry['check'])}: {entry['why']}") for entry in entries)
    return join(element("h3", "Not checked, or only in part"), element("ul", *lines, class_="quiet"))


def _words(name: str) -> str:
    return name.replace("_", " ")

"""Groups out of file names, by a regular expression from a request: one that cannot run for hours.

Python's engine tries all ways to match. Their number grows with the power of how many parts may stretch, and
without bound where a repeated part repeats itself; so few parts may, and none of those may be a group.
"""

import re
from collections.abc import Callable
from typing import Any

from models.imaging.label_table import IngestRefused

_MAX_PATTERN_CHARS = 200
_MAX_NAME_CHARS = 255
_MAX_STRETCHING = 3
_ESCAPED_OR_CLASS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_OPENING = re.compile(r"\((?:\?P<\w+>|\?:)?")
_POINTER = "/options/group_pattern"


def group_from_name(pattern: Any) -> Callable[[str], str]:
    """A function from a file name to what the pattern's first group holds, "" where it does not fit.

    Raises:
        IngestRefused: `bad_option`: no expression, without a group, or one that may take too long.
    """
    if not isinstance(pattern, str) or not 0 < len(pattern) <= _MAX_PATTERN_CHARS:
        raise _refused(f"group_pattern is a regular expression of 1 to {_MAX_PATTERN_CHARS} characters")
    if problem := _danger(pattern):
        raise _refused(problem)
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        raise _refused("group_pattern is no regular expression") from None
    if compiled.groups < 1:
        raise _refused("group_pattern needs a group in parentheses, such as (patient[0-9]+)_.*")

    def group(name: str) -> str:
        found = compiled.fullmatch(name) if len(name) <= _MAX_NAME_CHARS else None
        return (found[1] or "").strip() if found else ""

    return group


def _danger(pattern: str) -> str:
    rest = _OPENING.sub("(", _ESCAPED_OR_CLASS.sub("x", pattern))
    if "(?" in rest or "|" in rest:
        return "group_pattern may only have plain groups, without alternatives"
    if re.search(r"\)[*+?{]", rest):
        return "group_pattern may not repeat a group"
    if sum(rest.count(sign) for sign in "*+?{") > _MAX_STRETCHING:
        return f"group_pattern may have {_MAX_STRETCHING} of * + ? and {{}} at most"
    return ""


def _refused(message: str) -> IngestRefused:
    return IngestRefused("bad_option", message, _POINTER)

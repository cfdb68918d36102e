"""JSON log lines of closed codes, ids and numbers: what is not on the list is dropped, free text above all.

Messages and exception texts of libraries may quote a query, a path or a value; of those only the logger, the
level and the place in the code are kept.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO
from uuid import UUID

import structlog

CODE = re.compile(r"[a-z0-9_.]{1,60}")
# Words from closed lists: codes, states, kinds, queues, class names, template routes.
WORDS = frozenset(
    {
        "code",
        "dtype",
        "engine",
        "exception",
        "kind",
        "level",
        "logger",
        "method",
        "operation",
        "place",
        "queue",
        "route",
        "state",
        "timestamp",
    }
)
IDS = frozenset({"correlation_id", "error_id", "job_id", "tenant_id", "worker_id"})
_WORD = re.compile(r"[A-Za-z0-9_.:/{}+<>-]{1,120}")


def configure(level: str, *, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging of this process."""
    out = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            keep_listed,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(PlaceFormatter())
    # Libraries' chatter below a warning tells nothing once its text is dropped.
    logging.captureWarnings(True)
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


def keep_listed(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Processor: drops every field that could hold free text."""
    event = line.pop("event", "")
    code = event if isinstance(event, str) and CODE.fullmatch(event) else "unlisted"
    kept = {name: _plain(value) for name, value in line.items() if _may_stand(name, value)}
    return {"event": code, **kept}


def _plain(value: object) -> object:
    """JSON has no UUID, and its `repr` is not what a log is searched for."""
    return str(value) if isinstance(value, UUID) else value


def _may_stand(name: str, value: object) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return True
    if name in IDS:
        return _is_uuid(str(value))
    return name in WORDS and isinstance(value, str) and _WORD.fullmatch(value) is not None


def _is_uuid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True


class PlaceFormatter(logging.Formatter):
    """A record of a library as level, logger, place and exception class, without its text."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "event": "library",
            "level": record.levelname.lower(),
            "logger": record.name,
            "module": record.module,
            "line": record.lineno,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line)

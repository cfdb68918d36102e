"""What a message may be: one job id under a task name. Whoever can write to Redis can forge anything else.

Celery's own handling trusts the body's form: one that is not a list of three ends the whole worker.
"""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import structlog
from celery.exceptions import InvalidTaskError
from celery.worker.strategy import default

log = structlog.get_logger()

JOB_ID_LENGTH = 36
BODY_LIMIT_BYTES = 4096
JSON = "application/json"
# Each would have Celery do something of its own.
NEVER_SENT = ("eta", "expires", "group", "chord", "compression")


def strict(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Celery strategy: drops what is not ours before Celery looks into it."""
    handle = default(task, app, consumer, **options)

    def receive(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **rest: Any) -> Any:
        if job_id(message.headers, message.content_type, message.body) is None:
            log.warning("message_refused")
            raise InvalidTaskError  # Celery drops it
        return handle(message, body, ack, reject, callbacks, **rest)

    return receive


def job_id(headers: object, content_type: object, body: object) -> UUID | None:
    """The job that the message names; None for any other message than the dispatcher sends."""
    if not isinstance(headers, dict) or content_type != JSON:
        return None
    if any(headers.get(name) for name in NEVER_SENT) or any(headers.get("timelimit") or ()):
        return None
    return _named(body)


def _named(body: object) -> UUID | None:
    if not isinstance(body, str | bytes) or len(body) > BODY_LIMIT_BYTES:
        return None
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match call:
        case [[str(text)], dict(options), dict(embedded)] if not options and not any(embedded.values()):
            return parse(text)
    return None


def parse(text: str) -> UUID | None:
    """The usual spelling only."""
    if len(text) != JOB_ID_LENGTH:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None

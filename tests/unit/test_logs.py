"""Nothing but listed fields gets into a log line."""

import io
import json
import logging
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from service import logs
from service.domain.ids import new_id

SECRET = "Jane Doe 1957-03-01"


def test_codes_ids_and_numbers_pass() -> None:
    job_id = str(new_id())
    line = {"event": "job_ended", "job_id": job_id, "code": "gave_up", "fence": 3, "state": "dead"}
    assert logs.keep_listed(None, "info", dict(line)) == line


def test_an_id_is_written_as_the_plain_string() -> None:
    correlation_id = new_id()
    line = logs.keep_listed(None, "info", {"event": "request", "correlation_id": correlation_id})
    assert line == {"event": "request", "correlation_id": str(correlation_id)}


@pytest.mark.parametrize(
    "field",
    [{"detail": SECRET}, {"job_id": SECRET}, {"code": SECRET}, {"path": "a.jpg"}, {"x": [1]}, {"x": {}}],
)
def test_free_text_does_not(field: dict[str, Any]) -> None:
    assert logs.keep_listed(None, "info", {"event": "started", **field}) == {"event": "started"}


def test_a_sentence_is_no_event() -> None:
    assert logs.keep_listed(None, "info", {"event": f"opened {SECRET}"}) == {"event": "unlisted"}


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none()))
def test_no_text_of_an_unlisted_field_survives(fields: dict[str, Any]) -> None:
    kept = logs.keep_listed(None, "info", {"event": "started", **fields})
    listed = logs.WORDS | logs.IDS | {"event"}
    assert not [name for name, value in kept.items() if isinstance(value, str) and name not in listed]


@pytest.fixture
def stream() -> Any:
    """Configured for one test; the process gets its logging back."""
    handlers, level = logging.root.handlers[:], logging.root.level
    out = io.StringIO()
    yield out
    logging.root.handlers[:], logging.root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_lines_are_json_and_libraries_keep_their_texts(stream: io.StringIO) -> None:
    logs.configure("info", stream=stream)
    structlog.get_logger().info("worker_started", detail=SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("celery.worker").exception("lost %s", SECRET)
    logging.getLogger("celery.worker").info("chatter")
    ours, theirs = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert ours["event"] == "worker_started"
    assert (theirs["event"], theirs["logger"], theirs["exception"]) == (
        "library",
        "celery.worker",
        "ValueError",
    )
    assert SECRET not in stream.getvalue()

"""What a worker takes for a message of the dispatcher."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.ids import new_id
from workers.message import JSON, job_id

ID = str(new_id())
EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
HEADERS: dict[str, Any] = {"task": "enteron.batch", "eta": None, "timelimit": [None, None], "argsrepr": "x"}


def body(*args: object, options: object = None, embedded: object = None) -> str:
    return json.dumps([list(args), {} if options is None else options, embedded or EMBEDDED])


def test_the_dispatchers_message_names_its_job() -> None:
    assert job_id(HEADERS, JSON, body(ID)) == UUID(ID)
    assert job_id(HEADERS, JSON, body(ID).encode()) == UUID(ID)


@pytest.mark.parametrize(
    "wrong",
    [
        body(),
        body(ID, ID),
        body(ID, options={"kind": "training"}),
        body(ID, embedded={"callbacks": [{"task": "x"}]}),
        body(ID.replace("-", "")),
        body("{" + ID[1:-1] + "}"),
        body(17),
        body(None),
        "[]",
        "17",
        '[17, "x", []]',
        "not json",
        "[" * 2_000,
        " " * 5_000 + body(ID),
        b"\x80\x04K\x01.",
        None,
    ],
)
def test_another_body_names_none(wrong: object) -> None:
    assert job_id(HEADERS, JSON, wrong) is None


@pytest.mark.parametrize(
    "headers",
    [
        None,
        [],
        HEADERS | {"eta": "2030-01-01T00:00:00"},
        HEADERS | {"expires": 1},
        HEADERS | {"timelimit": [1, 1]},
    ],
)
def test_headers_that_make_celery_do_more_are_refused(headers: object) -> None:
    assert job_id(headers, JSON, body(ID)) is None


def test_only_json_is_read() -> None:
    assert job_id(HEADERS, "application/x-python-serialize", body(ID)) is None


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(_json, _json)
def test_no_json_of_another_form_is_taken_or_raises(headers: object, call: object) -> None:
    assert job_id(headers, JSON, json.dumps(call)) is None

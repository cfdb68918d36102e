"""JSON as the API takes it: what a strict reader takes, and nothing that the database would choke on."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.bodies import JSON_DEPTH, parse_json
from service.domain.errors import InvalidInput

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(value=VALUES)
def test_what_json_says_is_what_arrives(value):
    assert parse_json(json.dumps(value).encode()) == value


@given(data=st.binary(max_size=50))
def test_any_bytes_are_json_or_refused(data):
    try:
        value = parse_json(data)
    except InvalidInput:
        return
    assert value == json.loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b'{"a": 1, "a": 2}',
        b'"\xff"',
        b'"a\\u0000"',
        b'"\\ud800"',
        b'{"a\\u0000": 1}',
        b"9" * 5000,
        b"[" * (JSON_DEPTH + 1) + b"]" * (JSON_DEPTH + 1),
        b"[" * 1_000_000,
    ],
)
def test_refused(data):
    with pytest.raises(InvalidInput):
        parse_json(data)


def test_the_deepest_that_is_taken():
    data = b"[" * (JSON_DEPTH - 1) + b"]" * (JSON_DEPTH - 1)
    assert parse_json(data) == json.loads(data)

"""Names of model versions, and weights files seen from outside."""

import json
import struct
from types import SimpleNamespace
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import InvalidInput
from service.domain.registry import Reference, check_safetensors, weakest_evidence
from service.usecases.registry import _before_current


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", Reference("m", "champion")),
        ("m@careful", Reference("m", "careful")),
        ("m:12", Reference("m", None, 12)),
        ("a.b-c_d:1", Reference("a.b-c_d", None, 1)),
    ],
)
def test_references(text, expected):
    assert Reference.parse(text, "/model") == expected


@pytest.mark.parametrize("text", ["", "M", "m@", "m:", "m:0", "m:-1", "m@a:1", "m a", "m\n", "../m", "m:1\n"])
def test_not_references(text):
    with pytest.raises(InvalidInput) as refused:
        Reference.parse(text, "/model")
    assert refused.value.errors[0].pointer == "/model"


@pytest.mark.parametrize(
    ("evidence", "weakest"),
    [(["real"], "real"), (["real", "synthetic"], "synthetic"), (["real", "none", "synthetic"], "none")],
)
def test_a_version_is_proven_as_its_least_proven_label(evidence, weakest):
    assert weakest_evidence({"labels": [{"evidence": word} for word in evidence]}) == weakest


def file(spans: list[tuple[int, int]], body: int) -> tuple[bytes, int]:
    header = json.dumps({str(i): {"data_offsets": list(span)} for i, span in enumerate(spans)}).encode()
    return struct.pack("<Q", len(header)) + header, 8 + len(header) + body


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6), order=st.randoms())
def test_tensors_that_fill_the_file_are_taken_in_any_order(sizes, order):
    spans = [(sum(sizes[:i]), sum(sizes[: i + 1])) for i in range(len(sizes))]
    order.shuffle(spans)
    check_safetensors(*file(spans, sum(sizes)))


@given(spans=st.lists(st.tuples(st.integers(-2, 9), st.integers(-2, 9)), max_size=4), body=st.integers(0, 9))
def test_tensors_that_do_not_fill_the_file_are_refused(spans, body):
    covered = sorted(byte for begin, stop in spans for byte in range(begin, stop))
    fills = bool(spans) and covered == list(range(body)) and all(0 <= a <= b for a, b in spans)
    try:
        check_safetensors(*file(spans, body))
    except InvalidInput:
        assert not fills or any(a == b for a, b in spans)
    else:
        assert fills


@given(head=st.binary(max_size=60))
def test_any_bytes_are_checked_without_a_crash(head):
    with pytest.raises(InvalidInput):
        check_safetensors(head, len(head))


@given(moves=st.lists(st.sampled_from(["promote", "rollback"]), max_size=12))
def test_rollbacks_undo_promotions_one_by_one(moves):
    """Against a plain stack of versions."""
    stack, history = [], []
    for move in moves:
        if move == "promote":
            stack.append(uuid4())
        elif len(stack) > 1:
            stack.pop()
        else:
            continue
        history.insert(0, SimpleNamespace(action=move, to_version_id=stack[-1]))
    assert _before_current(history) == (stack[-2] if len(stack) > 1 else None)

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.schema import SchemaError, bounded, decode, encode, json_schema


@dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0


@dataclass(frozen=True)
class Drawing:
    title: str
    points: tuple[Point, ...]
    colour: Literal["red", "blue"] = "red"
    width_px: int = bounded(3, minimum=1, maximum=9)
    closed: bool = False
    weights: Mapping[str, float] | None = None


finite = st.floats(allow_nan=False, allow_infinity=False)
drawings = st.builds(
    Drawing,
    title=st.text(),
    points=st.lists(st.builds(Point, finite, finite)).map(tuple),
    colour=st.sampled_from(["red", "blue"]),
    width_px=st.integers(1, 9),
    closed=st.booleans(),
    weights=st.none() | st.dictionaries(st.text(), finite),
)


@given(drawings)
def test_encode_and_decode_are_inverse_and_fit_the_schema(drawing):
    data = encode(drawing)
    jsonschema.validate(data, json_schema(Drawing))
    assert decode(Drawing, data) == drawing


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"title": 3}, "/title"),
        ({"extra": 1}, "/extra"),
        ({"a/b": 1}, "/a~1b"),
        ({"points": [{"x": 1.0}, {"x": "far"}]}, "/points/1/x"),
        ({"points": [{"x": math.nan}]}, "/points/0/x"),
        ({"points": [{"x": 10**400}]}, "/points/0/x"),
        ({"points": [{}]}, "/points/0/x"),
        ({"points": "none"}, "/points"),
        ({"colour": "green"}, "/colour"),
        ({"width_px": 0}, "/width_px"),
        ({"width_px": 10}, "/width_px"),
        ({"width_px": True}, "/width_px"),
        ({"width_px": 2.0}, "/width_px"),
        ({"closed": 1}, "/closed"),
        ({"weights": {"a": "b"}}, "/weights/a"),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(change, pointer):
    with pytest.raises(SchemaError) as refused:
        decode(Drawing, {"title": "t", "points": []} | change)
    assert refused.value.pointer == pointer


def test_a_required_field_must_be_there():
    with pytest.raises(SchemaError) as refused:
        decode(Drawing, {"points": []})
    assert refused.value.pointer == "/title"


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_only_an_object_is_decoded(data):
    with pytest.raises(SchemaError, match="must be an object"):
        decode(Drawing, data)

"""Strict JSON for frozen dataclasses: one declaration gives decoding, encoding and a JSON Schema.

Specs come from uploaded files and recipe parameters from HTTP, so both are read by the same strict decoder:
unknown keys, wrong types, NaN and values out of bounds are refused with a JSON Pointer (RFC 6901).
"""

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
JsonObject = dict[str, Any]

_SCALARS: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


class SchemaError(ValueError):
    """A value does not fit its declaration; `pointer` says where, `message` names no data."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer or '/'}: {message}")
        self.pointer = pointer
        self.message = message


def bounded(
    default: Any = dataclasses.MISSING,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    doc: str = "",
) -> Any:
    """A dataclass field with inclusive bounds and a description, all of which reach the JSON Schema."""
    limits = {"minimum": minimum, "maximum": maximum, "description": doc or None}
    metadata = {key: value for key, value in limits.items() if value is not None}
    return dataclasses.field(default=default, metadata=metadata)


def decode(cls: type[T], data: object, pointer: str = "") -> T:
    """Build the dataclass `cls` from parsed JSON.

    Raises:
        SchemaError: unknown or missing key, wrong type, out of bounds, or refused by the dataclass itself.
    """
    if not isinstance(data, Mapping):
        raise SchemaError(pointer, "must be an object")
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cast(Any, cls))}
    for key in data:
        if key not in fields:
            raise SchemaError(f"{pointer}/{_escape(str(key))}", "is not a known field")
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _decode_value(hints[name], data[name], f"{pointer}/{name}")
            _check_bounds(field.metadata, values[name], f"{pointer}/{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SchemaError(f"{pointer}/{name}", "is required")
    try:
        return cls(**values)
    except SchemaError as error:
        raise SchemaError(pointer + error.pointer, error.message) from error


def encode(value: Any) -> Any:
    """JSON-able form of a dataclass, inverse of `decode`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return value


def json_schema(cls: type) -> JsonObject:
    """JSON Schema (2020-12) of the dataclass, with defaults, for catalogues and forms."""
    hints = get_type_hints(cls)
    properties: JsonObject = {}
    required = []
    for field in dataclasses.fields(cast(Any, cls)):
        entry = _schema_of(hints[field.name]) | dict(field.metadata)
        if field.default is not dataclasses.MISSING:
            entry["default"] = encode(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            entry["default"] = encode(field.default_factory())
        else:
            required.append(field.name)
        properties[field.name] = entry
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _decode_value(hint: Any, value: object, pointer: str) -> Any:  # noqa: PLR0911 - one per kind of type
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        # 1 == True == 1.0 in Python, so membership alone would let a boolean pass for a number.
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise SchemaError(pointer, f"must be one of {', '.join(map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _decode_value(_without_none(arguments), value, pointer)
    if origin is tuple:
        return _decode_tuple(arguments, value, pointer)
    if origin is not None and issubclass(origin, Mapping):
        return _decode_mapping(arguments[1], value, pointer)
    if dataclasses.is_dataclass(hint):
        return decode(cast(type, hint), value, pointer)
    return _decode_scalar(hint, value, pointer)


def _decode_tuple(arguments: tuple[Any, ...], value: object, pointer: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise SchemaError(pointer, "must be a list")
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        raise SchemaError(pointer, f"must have {len(hints)} items")
    pairs = enumerate(zip(hints, value, strict=True))
    return tuple(_decode_value(hint, item, f"{pointer}/{index}") for index, (hint, item) in pairs)


def _decode_mapping(hint: Any, value: object, pointer: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise SchemaError(pointer, "must be an object")
    return {key: _decode_value(hint, item, f"{pointer}/{_escape(key)}") for key, item in value.items()}


def _decode_scalar(hint: Any, value: object, pointer: str) -> Any:
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise SchemaError(pointer, f"must be of type {_SCALARS[hint]}")
    return _finite(cast(float, value), pointer) if hint is float else value


def _finite(value: float, pointer: str) -> float:
    try:
        number = float(value)
    except OverflowError:  # JSON knows integers of any length
        number = math.inf
    if not math.isfinite(number):
        raise SchemaError(pointer, "must be finite")
    return number


def _check_bounds(metadata: Mapping[str, Any], value: Any, pointer: str) -> None:
    if value is None:
        return
    if "minimum" in metadata and value < metadata["minimum"]:
        raise SchemaError(pointer, f"must be at least {metadata['minimum']}")
    if "maximum" in metadata and value > metadata["maximum"]:
        raise SchemaError(pointer, f"must be at most {metadata['maximum']}")


def _schema_of(hint: Any) -> JsonObject:  # noqa: PLR0911 - one per kind of type
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema_of(_without_none(arguments)), {"type": "null"}]}
    if origin is tuple:
        length = {} if arguments[-1] is Ellipsis else {"minItems": len(arguments), "maxItems": len(arguments)}
        return {"type": "array", "items": _schema_of(arguments[0]), **length}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema_of(arguments[1])}
    if dataclasses.is_dataclass(hint):
        return json_schema(cast(type, hint))
    return {"type": _SCALARS[hint]}


def _without_none(arguments: tuple[Any, ...]) -> Any:
    (hint,) = (argument for argument in arguments if argument is not types.NoneType)
    return hint


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")

"""Words of the model registry: how a version is named, what a spec must say, what a weights file looks like.

`models/artifacts.py` checks the same again, deeper, where the weights are used; this is what the door checks.
"""

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.domain.errors import FieldError, InvalidInput

CHAMPION = "champion"
# The model of an analysis that names none: the first that has a champion. One's own trainings add to the
# first unless told otherwise, the second comes with Enteron; `web/models.js` offers them in the same order.
DEFAULT_READERS = ("lesion-detector", "starter-detector")
IMAGE_TASK = "image-multilabel"
FRAME_TASKS = frozenset({IMAGE_TASK, "image-multiclass"})  # of the models that read frames
NAME_PATTERN = "^[a-z0-9][a-z0-9._-]{0,62}$"
REFERENCE_PATTERN = "^[a-z0-9][a-z0-9._-]{0,62}(@[a-z0-9][a-z0-9._-]{0,62}|:[1-9][0-9]{0,8})?$"
HEADER_LIMIT_BYTES = 1 << 20
LABEL_OFF = 1.0  # a threshold that turns its label off, whatever the probability

EVIDENCE = ("none", "synthetic", "real")  # weakest first
_TEXTS = ("name", "task", "default_operating_point", "intended_use", "limitations", "code_version")
_OBJECTS = ("builder", "input", "calibration", "operating_points")


@dataclass(frozen=True)
class Reference:
    """`name`, `name@alias` or `name:version`."""

    name: str
    alias: str | None = CHAMPION
    version: int | None = None

    @staticmethod
    def parse(text: str, pointer: str) -> "Reference":
        if re.fullmatch(REFERENCE_PATTERN, text) is None:
            raise InvalidInput(
                "Not a model.", errors=[FieldError(pointer, "name, name@alias or name:version")]
            )
        name, _, alias = text.partition("@")
        if alias:
            return Reference(name, alias)
        name, _, version = text.partition(":")
        return Reference(name, None, int(version)) if version else Reference(name)


def weakest_evidence(spec: Mapping[str, Any]) -> str:
    """What may be said of a version as a whole: no more than of its least proven label."""
    found = {label["evidence"] for label in spec["labels"]}
    return next(word for word in EVIDENCE if word in found)


def check_spec(spec: object, name: str) -> Mapping[str, Any]:
    """The spec of an imported version, or every fault that a reader of the registry would stumble over."""
    if not isinstance(spec, Mapping):
        raise _refused("/spec", "must be an object")
    faults = [key for key in _TEXTS if not (isinstance(spec.get(key), str) and spec[key])]
    faults += [key for key in _OBJECTS if not (isinstance(spec.get(key), Mapping) and spec[key])]
    if not _are_labels(spec.get("labels")):
        faults.append("labels")
    elif "calibration" not in faults and not _calibrates(spec["calibration"], spec["labels"]):
        faults.append("calibration")
    if "builder" not in faults and not isinstance(spec["builder"].get("name"), str):
        faults.append("builder/name")
    if faults:
        raise InvalidInput(
            "The spec is not complete.",
            code="spec_invalid",
            errors=[FieldError(f"/spec/{key}", "missing or of the wrong kind") for key in faults],
        )
    if spec["name"] != name:
        raise _refused("/spec/name", "is not the name in the address")
    if spec["default_operating_point"] not in spec["operating_points"]:
        raise _refused("/spec/default_operating_point", "is not among the operating points")
    return spec


def _are_labels(labels: object) -> bool:
    return (
        isinstance(labels, list)
        and bool(labels)
        and all(
            isinstance(label, Mapping)
            and isinstance(label.get("name"), str)
            and label.get("evidence") in EVIDENCE
            for label in labels
        )
    )


def _calibrates(calibration: Mapping[str, Any], labels: list[Mapping[str, Any]]) -> bool:
    """Exactly the labels, each with slope and intercept: heat maps are drawn by them."""
    return set(calibration) == {label["name"] for label in labels} and all(
        isinstance(own, Mapping)
        and all(
            isinstance(own.get(name), int | float) and not isinstance(own[name], bool)
            for name in ("slope", "intercept")
        )
        for own in calibration.values()
    )


def check_safetensors(head: bytes, size_bytes: int) -> None:
    """Refuse what is not one gapless safetensors file; `head` is its beginning, header included.

    A pickle in disguise, a truncated file and a file with room for something else all fail here.
    """
    if len(head) < 8:
        raise _not_safetensors()
    (length,) = struct.unpack("<Q", head[:8])
    if length > HEADER_LIMIT_BYTES or 8 + length > min(len(head), size_bytes):
        raise _not_safetensors()
    try:
        header = json.loads(head[8 : 8 + length])
        spans = sorted(
            tuple(entry["data_offsets"]) for name, entry in header.items() if name != "__metadata__"
        )
        joined = _are_gapless(spans, size_bytes - 8 - length)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _not_safetensors() from None
    if not joined:
        raise _not_safetensors()


def _are_gapless(spans: list[tuple[int, int]], body_bytes: int) -> bool:
    end = 0
    for begin, stop in spans:
        if begin != end or stop < begin:
            return False
        end = stop
    return bool(spans) and end == body_bytes


def _refused(pointer: str, detail: str) -> InvalidInput:
    return InvalidInput(
        "The spec is not acceptable.", code="spec_invalid", errors=[FieldError(pointer, detail)]
    )


def _not_safetensors() -> InvalidInput:
    return InvalidInput(
        "The weights are not a safetensors file.",
        code="not_safetensors",
        errors=[FieldError("/weights", "header and tensors must fill the file without a gap")],
    )

"""What a model version is made of: a spec (JSON) and weights (safetensors), both read with suspicion."""

import hashlib
import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from torch import nn

from models.backbones.build import UnknownBackbone
from models.imaging.classifier import build_image_classifier
from models.imaging.detector import build_detector
from models.schema import JsonObject, SchemaError, bounded, decode, encode

HEADER_LIMIT_BYTES = 1 << 20
FILE_LIMIT_BYTES = 2 << 30

# Quantised and exotic types stay out until something here writes them.
_ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}

Evidence = Literal["real", "synthetic", "none"]
Task = Literal["image-multilabel", "image-multiclass"]


class ArtifactRefused(ValueError):
    """Weights or spec are not acceptable; `code` is from a closed list, `message` holds no path."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Builder:
    """Which function builds the module, and with what."""

    name: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class InputContract:
    """What the module was trained on: square RGB frames, resized by one named kernel."""

    size_px: int = bounded(minimum=16, maximum=4096)
    channels: int = bounded(minimum=1, maximum=16)
    resize_kernel: str = bounded(doc="models.imaging.preprocess.KERNEL at training time")
    value_range: tuple[float, float] = (0.0, 255.0)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)

    def __post_init__(self) -> None:
        if self.value_range != (0.0, 255.0):
            raise SchemaError("/value_range", "must be 0 to 255: frames are read as bytes")
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            raise SchemaError("/std", "mean and std need one value per channel, std above zero")


@dataclass(frozen=True)
class Label:
    """One output: its coded meaning, and on what its quality was measured."""

    name: str
    code_scheme: str
    code: str
    meaning: str
    evidence: Evidence


@dataclass(frozen=True)
class Calibration:
    """Probability = sigmoid(slope * score + intercept), as Platt scales; of exclusive classes the softmax."""

    slope: float = bounded(1.0, minimum=1e-6)
    intercept: float = 0.0


@dataclass(frozen=True)
class ModelSpec:
    """Everything about a version but its tensors; `calibration` and each operating point have every label."""

    name: str
    task: Task
    builder: Builder
    input: InputContract
    labels: tuple[Label, ...]
    calibration: Mapping[str, Calibration]
    operating_points: Mapping[str, Mapping[str, float]]
    default_operating_point: str
    intended_use: str
    limitations: str
    licence: str
    paper: str
    dataset_fingerprint: str
    code_version: str
    seed: int
    engine: Literal["torch", "torch-folded", "torch-compiled", "openvino"] = "torch"
    dtype: Literal["float32", "bfloat16"] = "float32"
    contents: tuple[str, ...] = ()  # of each dataset learnt from, `models.imaging.datasets.content`
    schema_version: Literal[1] = 1

    def learnt_from(self, fingerprint: str, contents: Iterable[str]) -> bool:
        """Whether the frames of a dataset, or of a part of it, taught this version, however grouped."""
        return fingerprint == self.dataset_fingerprint or not set(contents).isdisjoint(self.contents)

    def __post_init__(self) -> None:
        names = set(self.label_names)
        if not names or len(names) != len(self.labels):
            raise SchemaError("/labels", "needs at least one label, and every name once")
        if set(self.calibration) != names:
            raise SchemaError("/calibration", "must have exactly the labels of the model")
        for point, thresholds in self.operating_points.items():
            if set(thresholds) != names or not all(0 <= value <= 1 for value in thresholds.values()):
                raise SchemaError(f"/operating_points/{point}", "needs a threshold in 0..1 for every label")
        if self.default_operating_point not in self.operating_points:
            raise SchemaError("/default_operating_point", "is not among the operating points")

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    def to_json(self) -> str:
        """Canonical JSON text: equal specs give equal bytes."""
        return json.dumps(encode(self), sort_keys=True, indent=1, allow_nan=False)

    @staticmethod
    def from_json(text: str | bytes) -> "ModelSpec":
        """Parse and check a spec.

        Raises:
            ArtifactRefused: `spec_not_json`, or `spec_invalid` with the pointer of the first fault.
        """
        try:
            data = json.loads(text, object_pairs_hook=_unique_keys)
        except (ValueError, RecursionError) as error:
            raise ArtifactRefused(
                "spec_not_json", "the spec is not one JSON object with unique keys"
            ) from error
        try:
            return decode(ModelSpec, data)
        except SchemaError as error:
            raise ArtifactRefused("spec_invalid", str(error)) from error


@dataclass(frozen=True)
class Trained:
    """What a recipe leaves: the spec, the weights file beside its hash, and what was measured (JSON-able)."""

    spec: ModelSpec
    weights_path: Path
    sha256: str
    metrics: Mapping[str, Any]
    report: Mapping[str, Any]


def save_weights(module: nn.Module, path: Path) -> str:
    """Write the state dict as safetensors, durably and at once; returns the file's SHA-256 in hex."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    return save_tensors(tensors, path)


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> str:
    """Write named CPU tensors as safetensors through a temporary file; returns the SHA-256 in hex."""
    data = safetensors.torch.save(dict(tensors))
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return hashlib.sha256(data).hexdigest()


def load_weights(path: Path, expected_sha256: str) -> dict[str, torch.Tensor]:
    """Read a safetensors file whose hash is known.

    Raises:
        ArtifactRefused: `too_large`, `hash_mismatch`, `not_safetensors`, `header_too_large`, `layout`,
            `not_finite`.
    """
    if path.stat().st_size > FILE_LIMIT_BYTES:
        raise ArtifactRefused("too_large", f"weights above {FILE_LIMIT_BYTES} bytes")
    # Read once: what is hashed, checked and parsed are the same bytes, whatever happens to the file.
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != expected_sha256:
        raise ArtifactRefused("hash_mismatch", "the weights are not the registered ones")
    check_safetensors(data)
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ArtifactRefused("not_safetensors", "the file does not parse") from error
    for tensor in tensors.values():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ArtifactRefused("not_finite", "a weight is NaN or infinite")
    return tensors


def check_safetensors(data: bytes) -> None:
    """Check a whole safetensors file before any library parses it (errors as `load_weights`)."""
    header, body_bytes = _read_header(data)
    end = 0
    for begin, stop in sorted(
        _extent(name, entry) for name, entry in header.items() if name != "__metadata__"
    ):
        if begin != end:
            raise ArtifactRefused("layout", "tensors overlap or leave a gap")
        end = stop
    if end != body_bytes:
        raise ArtifactRefused("layout", "tensors do not cover the file")


def build_module(spec: ModelSpec, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """Build the spec's module and load its weights strictly; in evaluation mode, on the CPU.

    Raises:
        ArtifactRefused: `unknown_builder`, `unknown_backbone`, `builder_params` or `weights_mismatch`.
    """
    module = _built(spec)
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ArtifactRefused("weights_mismatch", "the weights belong to another architecture") from error
    return module.eval()


def drawn_twin(spec: ModelSpec) -> nn.Module:
    """The spec's module with weights drawn by its seed: what chance does (errors as `build_module`)."""
    torch.manual_seed(spec.seed)
    return _built(spec).eval()


def _built(spec: ModelSpec) -> nn.Module:
    if spec.builder.name not in MODULE_BUILDERS:
        raise unknown_builder(MODULE_BUILDERS)
    try:
        return MODULE_BUILDERS[spec.builder.name](spec)
    except UnknownBackbone as error:
        raise ArtifactRefused(error.code, str(error)) from error
    except SchemaError as error:
        raise ArtifactRefused("builder_params", f"The builder refuses its parameters: {error}.") from error
    except (KeyError, TypeError) as error:
        raise ArtifactRefused("builder_params", "The builder does not accept these parameters.") from error


def unknown_builder(known: Iterable[str]) -> ArtifactRefused:
    """The refusal of a spec whose builder is none of those that are known here."""
    names = ", ".join(sorted(known))
    return ArtifactRefused(
        "unknown_builder",
        f"The spec's builder is none of {names}: import one that is, or bring this worker up to date.",
    )


def _lesion_detector(spec: ModelSpec) -> nn.Module:
    return build_detector(
        **spec.builder.params, label_count=len(spec.labels), mean=spec.input.mean, std=spec.input.std
    )


def _image_classifier(spec: ModelSpec) -> nn.Module:
    return build_image_classifier(
        **spec.builder.params, class_count=len(spec.labels), mean=spec.input.mean, std=spec.input.std
    )


MODULE_BUILDERS: dict[str, Callable[[ModelSpec], nn.Module]] = {
    "lesion-detector": _lesion_detector,
    "image-classifier": _image_classifier,
}


def _read_header(data: bytes) -> tuple[JsonObject, int]:
    if len(data) < 8:
        raise ArtifactRefused("not_safetensors", "shorter than a header")
    (length,) = struct.unpack("<Q", data[:8])
    if length > HEADER_LIMIT_BYTES:
        raise ArtifactRefused("header_too_large", f"header above {HEADER_LIMIT_BYTES} bytes")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise ArtifactRefused("not_safetensors", "the header is not JSON with unique keys") from error
    if not isinstance(header, dict) or len(data) < 8 + length:
        raise ArtifactRefused("not_safetensors", "the header is not an object")
    return header, len(data) - 8 - length


def _extent(name: str, entry: Any) -> tuple[int, int]:
    try:
        shape, (begin, stop) = entry["shape"], entry["data_offsets"]
        numbers = [*shape, begin, stop]
        plain = all(type(number) is int and number >= 0 for number in numbers)
        fits = plain and stop - begin == math.prod(shape) * _ITEM_BYTES[entry["dtype"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactRefused("layout", "a tensor is not described as safetensors asks") from error
    if not fits:
        raise ArtifactRefused("layout", "a tensor's shape does not match its bytes")
    return begin, stop


def _unique_keys(pairs: list[tuple[str, Any]]) -> JsonObject:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)

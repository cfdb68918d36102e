"""A lesion detector with drawn weights, registered and promoted: for tests of what is around it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models.artifacts import Builder, Calibration, InputContract, Label, ModelSpec, save_weights
from models.imaging.detector import LesionDetector, build_detector
from models.imaging.preprocess import KERNEL
from service.client.client import Enteron

NAME = "lesion-detector"
LABELS = ("polyp", "bleeding", "inflammatory", "content")
SMALL = {"width": 0.125}


def import_reader(client: Enteron, folder: Path, **options: Any) -> tuple[ModelSpec, Path]:
    """Make it the champion; options as `make_reader`."""
    spec, weights, _ = make_reader(folder, **options)
    made = client.import_version(NAME, weights, json.loads(spec.to_json()))
    client.promote(NAME, made["version"], reason="a reader with drawn weights")
    return spec, weights


def make_reader(
    folder: Path, *, backbone: str = "resnet10", params: Mapping[str, Any] = SMALL, size_px: int = 64
) -> tuple[ModelSpec, Path, str]:
    """Spec, weights and their hash of a model that finds a polyp in every frame, and nothing else."""
    weights = folder / "weights.safetensors"
    sha256 = save_weights(_detector(backbone, params), weights)
    return reader_spec(backbone, params, size_px=size_px), weights, sha256


def reader_spec(
    backbone: str = "resnet10",
    params: Mapping[str, Any] = SMALL,
    *,
    size_px: int = 64,
    labels: Sequence[str] = LABELS,
    **changes: Any,
) -> ModelSpec:
    """The spec of such a reader; `changes` replace whole fields."""
    spec = ModelSpec(
        name=NAME,
        task="image-multilabel",
        builder=Builder("lesion-detector", {"backbone": backbone, "backbone_params": dict(params)}),
        input=InputContract(size_px=size_px, channels=3, resize_kernel=KERNEL),
        labels=tuple(Label(name, "enteron", name, name, "none") for name in labels),
        calibration={name: Calibration() for name in labels},
        operating_points={"balanced": dict.fromkeys(labels, 0.5)},
        default_operating_point="balanced",
        intended_use="Tests.",
        limitations="Its weights are drawn, not learnt.",
        licence="none",
        paper="none",
        dataset_fingerprint="none",
        code_version="test",
        seed=0,
    )
    return replace(spec, **changes)


def _detector(backbone: str, params: Mapping[str, Any]) -> LesionDetector:
    torch.manual_seed(0)
    detector = build_detector(backbone, params, label_count=len(LABELS))
    with torch.no_grad():
        # Features are never negative, so these signs alone decide every answer.
        sign = torch.tensor([[1.0], [-1.0], [-1.0], [-1.0]])
        detector.head.weight.copy_(sign * detector.head.weight.abs())
        detector.head.bias.zero_()
    return detector

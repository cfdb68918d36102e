"""The list of backbones: an explicit dict from name to builder (how to add one: docs/extending.md)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import torch
from torch import nn

from models.backbones.resnet import Depth, ResNetFeatures
from models.schema import JsonObject, bounded, decode, json_schema


class Backbone(Protocol):
    """A module from normalised frames [B, C, H, W] to a feature grid [B, feature_channels, h, w]."""

    feature_channels: int

    def __call__(self, frames_BCHW: torch.Tensor) -> torch.Tensor: ...


class UnknownBackbone(ValueError):
    """No backbone of that name is registered here."""

    code = "unknown_backbone"

    def __init__(self) -> None:
        known = ", ".join(sorted(BACKBONES))
        super().__init__(f"No such backbone here: name one of {known}, or bring this worker up to date.")


@dataclass(frozen=True)
class ResNetParams:
    """Options of every residual network here."""

    in_channels: int = bounded(3, minimum=1, maximum=16, doc="channels of the input frames")
    width: float = bounded(1.0, minimum=0.125, maximum=4.0, doc="multiplies the channels of every stage")
    output_stride: Literal[16, 32] = bounded(32, doc="frame pixels per cell of the activation map")


@dataclass(frozen=True)
class BackboneEntry:
    """One backbone: what it is, its options and how to build it from them."""

    summary: str
    params: type
    build: Callable[[Any], nn.Module]
    smallest_input_px: int
    paper: str


def _resnet(depth: Depth) -> BackboneEntry:
    def build(params: ResNetParams) -> nn.Module:
        return ResNetFeatures(
            depth, in_channels=params.in_channels, width=params.width, output_stride=params.output_stride
        )

    return BackboneEntry(
        summary=f"residual network, {depth} layers",
        params=ResNetParams,
        build=build,
        smallest_input_px=32,
        paper="He et al. 2016, arXiv 1512.03385",
    )


BACKBONES: dict[str, BackboneEntry] = {
    "resnet10": _resnet(10),
    "resnet18": _resnet(18),
    "resnet34": _resnet(34),
    "resnet50": _resnet(50),
}


def build_backbone(name: str, params: Mapping[str, Any]) -> nn.Module:
    """Build a registered backbone with fresh weights; the result satisfies `Backbone`.

    Raises:
        UnknownBackbone: the name is not registered.
        SchemaError: `params` do not fit the backbone's declaration.
    """
    entry = BACKBONES.get(name)
    if entry is None:
        raise UnknownBackbone
    return entry.build(decode(entry.params, params))


def catalogue() -> list[JsonObject]:
    """JSON-able description of every backbone, for `GET /backbones`."""
    return [_describe(name, entry) for name, entry in BACKBONES.items()]


def _describe(name: str, entry: BackboneEntry) -> JsonObject:
    # On the meta device nothing is allocated: the list costs milliseconds, not gigabytes.
    with torch.device("meta"):
        module = build_backbone(name, {})
    return {
        "name": name,
        "summary": entry.summary,
        "params": json_schema(entry.params),
        "parameter_count": sum(parameter.numel() for parameter in module.parameters()),
        "feature_channels": cast(int, module.feature_channels),
        "input": {"layout": "BCHW", "channels": 3, "smallest_px": entry.smallest_input_px},
        "paper": entry.paper,
    }

"""The list of backbones: an explicit dict from name to builder (how to add one: docs/extending.md)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from models.backbones import alexnet, densenet, efficientnet, googlenet, resnet, vgg
from models.backbones.entry import BackboneEntry
from models.backbones.initialisation import initialise
from models.backbones.shapes import shapes_only
from models.backbones.stages import StagedNetwork
from models.schema import JsonObject, decode, json_schema

BACKBONES: dict[str, BackboneEntry] = {
    **alexnet.ENTRIES,
    **vgg.ENTRIES,
    **googlenet.ENTRIES,
    **resnet.ENTRIES,
    **densenet.ENTRIES,
    **efficientnet.ENTRIES,
}


class UnknownBackbone(ValueError):
    """No backbone of that name is registered here."""

    code = "unknown_backbone"

    def __init__(self) -> None:
        known = ", ".join(sorted(BACKBONES))
        super().__init__(f"No such backbone here: name one of {known}, or bring this worker up to date.")


def build_backbone(name: str, params: Mapping[str, Any]) -> StagedNetwork:
    """Build a registered backbone with fresh weights, without its head; the result satisfies `Backbone`.

    Raises:
        UnknownBackbone: the name is not registered.
        SchemaError: `params` do not fit the backbone's declaration.
    """
    return _build(name, params, classes=None)


def build_classifier(name: str, params: Mapping[str, Any], classes: int) -> StagedNetwork:
    """Build the published network with its own head: frames [B, C, H, W] to logits [B, classes].

    Raises:
        UnknownBackbone: the name is not registered.
        SchemaError: `params` do not fit the backbone's declaration.
    """
    return _build(name, params, classes=classes)


def catalogue() -> list[JsonObject]:
    """JSON-able description of every backbone, for `GET /backbones`."""
    return [_describe(name, entry) for name, entry in BACKBONES.items()]


def _build(name: str, params: Mapping[str, Any], *, classes: int | None) -> StagedNetwork:
    entry = BACKBONES.get(name)
    if entry is None:
        raise UnknownBackbone
    decoded = decode(entry.params, params)
    options = {field.name: getattr(decoded, field.name) for field in dataclasses.fields(decoded)}
    scheme = options.pop("initialisation")
    network = entry.features(**options) if classes is None else entry.classifier(classes=classes, **options)
    if scheme != "published":
        initialise(network, scheme)
    return network


def _describe(name: str, entry: BackboneEntry) -> JsonObject:
    with shapes_only():
        network = build_backbone(name, {})
    return {
        "name": name,
        "summary": entry.summary,
        "params": json_schema(entry.params),
        "parameter_count": sum(parameter.numel() for parameter in network.parameters()),
        "feature_channels": network.feature_channels,
        "stages": list(network.stages()),
        "input": {"layout": "BCHW", "channels": 3, "smallest_px": entry.smallest_input_px},
        "paper": entry.paper,
    }

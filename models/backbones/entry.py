"""What a backbone is, and what its line in the registry says of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from models.backbones.stages import StagedNetwork
from models.schema import bounded

OutputStride = Literal[16, 32]


class Backbone(Protocol):
    """A module from normalised frames [B, C, H, W] to a feature grid [B, feature_channels, h, w]."""

    feature_channels: int

    def __call__(self, frames_BCHW: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True)
class BackboneParams:
    """Options of every network here."""

    in_channels: int = bounded(3, minimum=1, maximum=16, doc="channels of the input frames")
    initialisation: Literal["published", "small-random", "xavier", "he"] = bounded(
        "published", doc="how fresh weights are drawn"
    )


@dataclass(frozen=True)
class StridedParams(BackboneParams):
    """Options of a network whose last halving of the grid may be left out."""

    output_stride: Literal[16, 32] = bounded(32, doc="frame pixels per cell of the activation map")


@dataclass(frozen=True)
class BackboneEntry:
    """One backbone: what it is, its options and how to build it from them.

    Attributes:
        summary: for people.
        params: dataclass of the options, `BackboneParams` or wider.
        features: feature extractor from the options by keyword (`initialisation` is applied by `build`).
        classifier: the published network, head included: `(classes, **options)`.
        smallest_input_px: the shortest side from which a grid is left.
        paper: where the network was published.
    """

    summary: str
    params: type[BackboneParams]
    features: Callable[..., StagedNetwork]
    classifier: Callable[..., StagedNetwork]
    smallest_input_px: int
    paper: str

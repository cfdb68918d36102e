"""Densely connected networks: a thin layer over MONAI's DenseNet, with its keys.

Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks" (CVPR 2017).
Shape suffixes: B batch, C channels, H W frame, D h w feature grid, K classes.
"""

from collections import OrderedDict
from functools import partial
from typing import Any, Literal, cast

import torch
from monai.networks.nets.densenet import DenseNet
from torch import nn

from models.backbones.entry import BackboneEntry, BackboneParams
from models.backbones.stages import StagedNetwork

Depth = Literal[121, 169, 201, 264]

_LAYERS: dict[int, tuple[int, ...]] = {
    121: (6, 12, 24, 16),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}


class DenseNetFeatures(StagedNetwork, DenseNet):
    """Four dense blocks, each layer of which reads the outputs of all before it; growth 32.

    Args:
        depth: 121, 169, 201 or 264.
        in_channels: channels of the input frames.
    """

    input_layer = "features.conv0"
    head = ("class_layers",)
    outputs = ("class_layers.out",)

    def __init__(self, depth: Depth, *, in_channels: int = 3) -> None:
        super().__init__(2, in_channels, out_channels=1, block_config=_LAYERS[depth])
        self.feature_channels = cast(nn.Linear, self.class_layers.out).in_features
        del self.class_layers

    def feature_stages(self) -> dict[str, list[nn.Module]]:
        """`stem`, then `block1` to `block4`, each with the transition or the normalisation behind it."""
        layers = dict(self.features.named_children())
        blocks = {
            f"block{number}": [layers[f"denseblock{number}"], layers[behind]]
            for number, behind in enumerate(("transition1", "transition2", "transition3", "norm5"), 1)
        }
        return {"stem": [layers["conv0"], layers["norm0"]], **blocks}

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to features [B, feature_channels, H/32, W/32]."""
        return torch.relu(self.features(frames_BCHW))


class DenseNetClassifier(DenseNetFeatures):
    """The published network: the features (and their options), mean pooling, `classes` logits."""

    def __init__(self, depth: Depth, classes: int, **features: Any) -> None:
        super().__init__(depth, **features)
        out = nn.Linear(self.feature_channels, classes)
        nn.init.zeros_(out.bias)
        self.class_layers = nn.Sequential(OrderedDict(out=out))

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to logits [B, K]."""
        logits_BK: torch.Tensor = self.class_layers(super().forward(frames_BCHW).mean(dim=(2, 3)))
        return logits_BK


def _entry(depth: Depth) -> BackboneEntry:
    return BackboneEntry(
        summary=f"densely connected network, {depth} layers",
        params=BackboneParams,
        features=partial(DenseNetFeatures, depth),
        classifier=partial(DenseNetClassifier, depth),
        smallest_input_px=32,
        paper="Huang et al. 2017, arXiv 1608.06993",
    )


ENTRIES = {
    "densenet121": _entry(121),
    "densenet169": _entry(169),
    "densenet201": _entry(201),
    "densenet264": _entry(264),
}

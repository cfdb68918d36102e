"""EfficientNets: a thin layer over MONAI's, with its keys.

Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML 2019).
Shape suffixes: B batch, C channels, H W frame, D h w feature grid, K classes.
"""

from functools import partial
from typing import Any, Literal

import torch
from monai.networks.nets.efficientnet import EfficientNetBN
from torch import nn

from models.backbones.entry import BackboneEntry, BackboneParams
from models.backbones.stages import StagedNetwork

Scale = Literal[0, 1, 2, 3, 4, 5, 6, 7]


class EfficientNetFeatures(StagedNetwork, EfficientNetBN):
    """Seven stages of inverted bottlenecks with squeeze and excitation, and the last 1 x 1 convolution.

    Args:
        scale: 0 to 7, the B0 to B7 of the paper.
        in_channels: channels of the input frames.
    """

    input_layer = "_conv_stem"
    head = ("_fc",)
    outputs = ("_fc",)

    def __init__(self, scale: Scale, *, in_channels: int = 3) -> None:
        super().__init__(f"efficientnet-b{scale}", pretrained=False, in_channels=in_channels, num_classes=1)
        self.feature_channels = self._fc.in_features
        del self._fc
        # The same function as MONAI's own, but one kernel, and one that exporters know.
        for module in list(self.modules()):
            if hasattr(module, "_swish"):
                module._swish = nn.SiLU()

    def feature_stages(self) -> dict[str, list[nn.Module]]:
        """`stem`, `stage1` to `stage7`, and `top`."""
        stages = {f"stage{number}": [stage] for number, stage in enumerate(self._blocks, 1)}
        return {"stem": [self._conv_stem, self._bn0], **stages, "top": [self._conv_head, self._bn1]}

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to features [B, feature_channels, H/32, W/32]."""
        stem = self._swish(self._bn0(self._conv_stem(self._conv_stem_padding(frames_BCHW))))
        top = self._conv_head(self._conv_head_padding(self._blocks(stem)))
        features_BDhw: torch.Tensor = self._swish(self._bn1(top))
        return features_BDhw


class EfficientNetClassifier(EfficientNetFeatures):
    """The published network: the features (and their options), mean pooling, dropout, `classes` logits."""

    def __init__(self, scale: Scale, classes: int, **features: Any) -> None:
        super().__init__(scale, **features)
        self._fc = nn.Linear(self.feature_channels, classes)
        nn.init.zeros_(self._fc.bias)

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to logits [B, K]."""
        logits_BK: torch.Tensor = self._fc(self._dropout(super().forward(frames_BCHW).mean(dim=(2, 3))))
        return logits_BK


def _entry(scale: Scale) -> BackboneEntry:
    return BackboneEntry(
        summary=f"inverted bottlenecks, scaled as B{scale}",
        params=BackboneParams,
        features=partial(EfficientNetFeatures, scale),
        classifier=partial(EfficientNetClassifier, scale),
        smallest_input_px=32,
        paper="Tan and Le 2019, arXiv 1905.11946",
    )


ENTRIES = {
    "efficientnet_b0": _entry(0),
    "efficientnet_b1": _entry(1),
    "efficientnet_b2": _entry(2),
    "efficientnet_b3": _entry(3),
    "efficientnet_b4": _entry(4),
    "efficientnet_b5": _entry(5),
    "efficientnet_b6": _entry(6),
    "efficientnet_b7": _entry(7),
}

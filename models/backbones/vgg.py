"""VGG networks, with and without batch normalisation; keys and shapes are torchvision's.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015), columns
D and E; batch normalisation came later (Ioffe, Szegedy 2015) and stands before each rectifier.
Shape suffixes: B batch, C channels, H W frame, D h w feature grid, K classes.
"""

from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import nn

from models.backbones.entry import BackboneEntry, OutputStride, StridedParams
from models.backbones.initialisation import initialise
from models.backbones.stages import StagedNetwork

Depth = Literal[16, 19]

_CONVOLUTIONS: dict[int, tuple[int, ...]] = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)
_POOLED_SIDE = 7
_HIDDEN = 4096


class VGGFeatures(StagedNetwork):
    """Five blocks of 3 x 3 convolutions, each halved by a maximum.

    Args:
        depth: 16 or 19, as the published network counts: three of them are dense layers of the head.
        batch_norm: normalise before each rectifier.
        in_channels: channels of the input frames.
        output_stride: 16 leaves out the last pooling.
    """

    input_layer = "features.0"
    head = ("classifier",)
    outputs = ("classifier.6",)

    def __init__(
        self,
        depth: Depth,
        *,
        batch_norm: bool = False,
        in_channels: int = 3,
        output_stride: OutputStride = 32,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self._ends = [0]
        inputs = in_channels
        for channels, convolutions in zip(_CHANNELS, _CONVOLUTIONS[depth], strict=True):
            for _ in range(convolutions):
                self.features.extend(_convolution(inputs, channels, batch_norm=batch_norm))
                inputs = channels
            self.features.append(nn.MaxPool2d(2, stride=2))
            self._ends.append(len(self.features))
        if output_stride == 16:
            del self.features[-1]
        self.feature_channels = inputs
        # Section 3.1 started from a shallower network's weights, and found afterwards that Xavier's will do.
        initialise(self, "xavier")

    def feature_stages(self) -> dict[str, list[nn.Module]]:
        """`block1` to `block5`, each with its pooling."""
        layers = list(self.features)
        spans = enumerate(pairwise(self._ends), 1)
        return {f"block{number}": layers[start:end] for number, (start, end) in spans}

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to features [B, 512, H/stride, W/stride]."""
        features_BDhw: torch.Tensor = self.features(frames_BCHW)
        return features_BDhw


class VGGClassifier(VGGFeatures):
    """The published network: the features (and their options), two hidden dense layers, `classes` logits."""

    def __init__(self, depth: Depth, classes: int, **features: Any) -> None:
        super().__init__(depth, **features)
        self.avgpool = nn.AdaptiveAvgPool2d(_POOLED_SIDE)
        self.classifier = nn.Sequential(
            nn.Linear(self.feature_channels * _POOLED_SIDE**2, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(_HIDDEN, classes),
        )
        initialise(self.classifier, "xavier")

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to logits [B, K]."""
        pooled_BDhw = self.avgpool(super().forward(frames_BCHW))
        logits_BK: torch.Tensor = self.classifier(pooled_BDhw.flatten(1))
        return logits_BK


def _convolution(inputs: int, channels: int, *, batch_norm: bool) -> list[nn.Module]:
    # The bias is of no use before a normalisation, but public weights have it.
    norm = [nn.BatchNorm2d(channels)] if batch_norm else []
    return [nn.Conv2d(inputs, channels, 3, padding=1), *norm, nn.ReLU(inplace=True)]


def _entry(depth: Depth, *, batch_norm: bool = False) -> BackboneEntry:
    return BackboneEntry(
        summary=f"3 x 3 convolutions, {depth} layers{', batch normalised' if batch_norm else ''}",
        params=StridedParams,
        features=partial(VGGFeatures, depth, batch_norm=batch_norm),
        classifier=partial(VGGClassifier, depth, batch_norm=batch_norm),
        smallest_input_px=32,
        paper="Simonyan and Zisserman 2015, arXiv 1409.1556",
    )


ENTRIES = {
    "vgg16": _entry(16),
    "vgg16_bn": _entry(16, batch_norm=True),
    "vgg19": _entry(19),
    "vgg19_bn": _entry(19, batch_norm=True),
}

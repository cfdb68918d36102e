"""AlexNet, on one tower or two.

Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (NIPS 2012):
two towers, here as grouped convolutions. Krizhevsky, "One weird trick" (arXiv 1404.5997): a thinner one, with
no response normalisation; public weights exist for that form, whose keys and shapes are torchvision's.
Shape suffixes: B batch, C channels, H W frame, D h w feature grid, K classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import nn

from models.backbones.entry import BackboneEntry, OutputStride, StridedParams
from models.backbones.initialisation import initialise
from models.backbones.stages import StagedNetwork
from models.schema import bounded

Towers = Literal[1, 2]

# Per convolution: size, stride and padding; channels and groups by the number of towers.
_KERNELS = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
_CHANNELS: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((64, 1), (192, 1), (384, 1), (256, 1), (256, 1)),
    2: ((96, 1), (256, 2), (384, 1), (384, 2), (256, 2)),
}
_POOLED = (1, 2, 5)
_NORMALISED = (1, 2)
_STARTED_AT_ONE = ("conv2", "conv4", "conv5")
_POOLED_SIDE = 6
_HIDDEN = 4096


@dataclass(frozen=True)
class AlexNetParams(StridedParams):
    """Options of AlexNet."""

    towers: Literal[1, 2] = bounded(1, doc="2 is the network of 2012, 1 the one public weights exist for")


def response_normalisation() -> nn.LocalResponseNorm:
    """The paper's normalisation across five neighbouring channels (torch divides alpha by their number)."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


class AlexNetFeatures(StagedNetwork):
    """The five convolutions.

    Args:
        in_channels: channels of the input frames.
        towers: 2 halves the inputs of the second, fourth and fifth convolution, as two GPUs did.
        output_stride: 16 leaves out the last pooling.
    """

    input_layer = "features.0"
    head = ("classifier",)
    outputs = ("classifier.6",)

    def __init__(self, *, in_channels: int = 3, towers: Towers = 1, output_stride: OutputStride = 32) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self._ends = [0]
        inputs = in_channels
        for number, (channels, groups) in enumerate(_CHANNELS[towers], 1):
            size, stride, padding = _KERNELS[number - 1]
            self.features.append(nn.Conv2d(inputs, channels, size, stride, padding, groups=groups))
            self.features.append(nn.ReLU(inplace=True))
            if towers == 2 and number in _NORMALISED:
                self.features.append(response_normalisation())
            if number in _POOLED and not (number == 5 and output_stride == 16):
                self.features.append(nn.MaxPool2d(3, stride=2))
            self._ends.append(len(self.features))
            inputs = channels
        self.feature_channels = inputs
        initialise(self, "small-random")
        stages = self.feature_stages()
        _start_at_one(stages[name][0] for name in _STARTED_AT_ONE)

    def feature_stages(self) -> dict[str, list[nn.Module]]:
        """`conv1` to `conv5`, each with what follows it."""
        layers = list(self.features)
        spans = enumerate(pairwise(self._ends), 1)
        return {f"conv{number}": layers[start:end] for number, (start, end) in spans}

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to features [B, 256, h, w]."""
        features_BDhw: torch.Tensor = self.features(frames_BCHW)
        return features_BDhw


class AlexNetClassifier(AlexNetFeatures):
    """The published network: the features (and their options), two hidden dense layers, `classes` logits."""

    def __init__(self, classes: int, **features: Any) -> None:
        super().__init__(**features)
        self.avgpool = nn.AdaptiveAvgPool2d(_POOLED_SIDE)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(self.feature_channels * _POOLED_SIDE**2, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(_HIDDEN, classes),
        )
        initialise(self.classifier, "small-random")
        _start_at_one((self.classifier[1], self.classifier[4]))

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to logits [B, K]."""
        pooled_BDhw = self.avgpool(super().forward(frames_BCHW))
        logits_BK: torch.Tensor = self.classifier(pooled_BDhw.flatten(1))
        return logits_BK


def _start_at_one(layers: Iterable[nn.Module]) -> None:
    """Give the rectifiers behind these layers positive inputs, and so a gradient, at first (section 5)."""
    for layer in layers:
        nn.init.ones_(cast(nn.Parameter, layer.bias))


ENTRIES = {
    "alexnet": BackboneEntry(
        summary="five convolutions, the first of the deep ones",
        params=AlexNetParams,
        features=AlexNetFeatures,
        classifier=AlexNetClassifier,
        smallest_input_px=63,
        paper="Krizhevsky et al. 2012; one tower: arXiv 1404.5997",
    ),
}

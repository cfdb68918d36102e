"""Residual networks, first and second version, and the plain networks they were measured against.

v1: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016); keys and shapes are
torchvision's, and so is the place of a bottleneck's stride (its 3 x 3 convolution, not its first).
v2: the same authors, "Identity Mappings in Deep Residual Networks" (ECCV 2016), with the batch normalisation
of the reference detector (Laiz et al. 2020).
Shape suffixes: B batch, C channels, H W frame, D h w feature grid, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from models.backbones.entry import BackboneEntry, OutputStride, StridedParams
from models.backbones.stages import StagedNetwork
from models.schema import bounded

Depth = Literal[10, 18, 34, 50, 101, 152]
Version = Literal[1, 2]
Shortcut = Literal["A", "B", "C"]

# Blocks per stage; 10 is the usual one-block-per-stage cut, not in the paper.
_BLOCKS: dict[int, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_STAGE_CHANNELS = (64, 128, 256, 512)
_BOTTLENECKS_FROM = 50
_WIDENING = 4  # of a bottleneck
_MOMENTUM = {1: 0.1, 2: 0.003}


@dataclass(frozen=True)
class PlainParams(StridedParams):
    """Options of the plain networks."""

    width: float = bounded(1.0, minimum=0.125, maximum=4.0, doc="multiplies the channels of every stage")


@dataclass(frozen=True)
class ResNetParams(PlainParams):
    """Options of every residual network here."""

    shortcut: Literal["A", "B", "C"] = bounded(
        "B", doc="A: zeros for new channels; B: projections there; C: projections everywhere"
    )


class PaddedShortcut(nn.Module):
    """Shortcut A: every `stride`-th cell, and zeros for the channels that are new; nothing to learn."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, grid_BDhw: torch.Tensor) -> torch.Tensor:
        """Map a grid [B, D, h, w] to [B, D + new_channels, h / stride, w / stride]."""
        kept = grid_BDhw[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(kept, (0, 0, 0, 0, 0, self.new_channels))


class Block(nn.Module):
    """Two 3 x 3 convolutions or one bottleneck, each followed by normalisation, around a shortcut.

    Args:
        convolutions: in order; they become `conv1`, `conv2` ... with `bn1`, `bn2` ...
        shortcut: what is added before the last rectifier; None makes the block plain.
    """

    def __init__(self, convolutions: list[nn.Conv2d], shortcut: nn.Module | None) -> None:
        super().__init__()
        self.length = len(convolutions)
        for number, convolution in enumerate(convolutions, 1):
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", self._normalisation(convolution))
        self.downsample = shortcut

    def forward(self, grid_BDhw: torch.Tensor) -> torch.Tensor:
        """Map a grid [B, inputs, h, w] to [B, outputs, h / stride, w / stride]."""
        out = grid_BDhw
        for number, (convolution, norm) in enumerate(self._layers(), 1):
            out = norm(convolution(out))
            if number == self.length and self.downsample is not None:
                out += self.downsample(grid_BDhw)
            out = torch.relu_(out)
        return out

    def _layers(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        for number in range(1, self.length + 1):
            yield getattr(self, f"conv{number}"), getattr(self, f"bn{number}")

    def _normalisation(self, convolution: nn.Conv2d) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(convolution.out_channels, momentum=_MOMENTUM[1])


class PreActivationBlock(Block):
    """The same with normalisation and rectifier before each convolution: the sum is handed on untouched."""

    def forward(self, grid_BDhw: torch.Tensor) -> torch.Tensor:
        """Map a grid [B, inputs, h, w] to [B, outputs, h / stride, w / stride]."""
        out, shortcut = grid_BDhw, None
        for number, (convolution, norm) in enumerate(self._layers(), 1):
            active = torch.relu_(norm(out))
            if number == 1 and self.downsample is not None:
                # A projection reads what the first convolution reads; identities stay identities.
                projects = isinstance(self.downsample, nn.Conv2d)
                shortcut = self.downsample(active if projects else grid_BDhw)
            out = convolution(active)
        return out if shortcut is None else out + shortcut

    def _normalisation(self, convolution: nn.Conv2d) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(convolution.in_channels, momentum=_MOMENTUM[2])


class ResNetFeatures(StagedNetwork):
    """ResNet without pooling and head.

    Args:
        depth: 10, 18, 34, 50, 101 or 152.
        version: 2 moves normalisation and rectifier before each convolution.
        shortcut: where the grid changes, "A" pads with zeros and "B" projects; "C" projects around every
            block; None leaves all shortcuts out (a plain network).
        in_channels: channels of the input frames.
        width: multiplies the channels of every stage (1.0 is the published network).
        output_stride: frame pixels per cell of the feature grid; 16 leaves out the stride of the last stage,
            which gives activation maps of twice the resolution for about 1.8 times the work.
    """

    input_layer = "conv1"
    head = ("fc",)
    outputs = ("fc",)

    def __init__(
        self,
        depth: Depth,
        *,
        version: Version = 1,
        shortcut: Shortcut | None = "B",
        in_channels: int = 3,
        width: float = 1.0,
        output_stride: OutputStride = 32,
    ) -> None:
        super().__init__()
        self._version = version
        self._bottleneck = depth >= _BOTTLENECKS_FROM
        self._shortcut = shortcut
        planes = [int(channels * width) for channels in _STAGE_CHANNELS]
        self.feature_channels = planes[0]  # so far; each block moves it on
        self.conv1 = nn.Conv2d(in_channels, planes[0], 7, stride=2, padding=3, bias=False)
        if version == 1:
            self.bn1 = nn.BatchNorm2d(planes[0], momentum=_MOMENTUM[1])
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        strides = (1, 2, 2, output_stride // 16)
        stages = [self._stage(*stage) for stage in zip(planes, _BLOCKS[depth], strides, strict=True)]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        if version == 2:
            self.bn_last = nn.BatchNorm2d(self.feature_channels, momentum=_MOMENTUM[2])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def feature_stages(self) -> dict[str, list[nn.Module]]:
        """`stem`, then `layer1` to `layer4`."""
        first = self._version == 1
        return {
            "stem": [self.conv1, self.bn1] if first else [self.conv1],
            "layer1": [self.layer1],
            "layer2": [self.layer2],
            "layer3": [self.layer3],
            "layer4": [self.layer4] if first else [self.layer4, self.bn_last],
        }

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to features [B, feature_channels, H/stride, W/stride]."""
        stem = self.conv1(frames_BCHW)
        if self._version == 1:
            stem = torch.relu_(self.bn1(stem))
        grid_BDhw: torch.Tensor = self.layer4(self.layer3(self.layer2(self.layer1(self.maxpool(stem)))))
        return grid_BDhw if self._version == 1 else torch.relu_(self.bn_last(grid_BDhw))

    def _stage(self, planes: int, blocks: int, stride: int) -> nn.Sequential:
        return nn.Sequential(*(self._block(planes, stride if number == 0 else 1) for number in range(blocks)))

    def _block(self, planes: int, stride: int) -> Block:
        inputs, outputs = self.feature_channels, planes * (_WIDENING if self._bottleneck else 1)
        self.feature_channels = outputs
        # Before the convolutions, as MONAI's ResNet did: a seed keeps giving the weights it always gave.
        shortcut = self._make_shortcut(inputs, outputs, stride)
        convolutions = _bottleneck if self._bottleneck else _pair
        block = Block if self._version == 1 else PreActivationBlock
        return block(convolutions(inputs, planes, stride), shortcut)

    def _make_shortcut(self, inputs: int, outputs: int, stride: int) -> nn.Module | None:
        if self._shortcut is None:
            return None
        if inputs == outputs and stride == 1 and self._shortcut != "C":
            return nn.Identity()
        if self._shortcut == "A":
            return PaddedShortcut(outputs - inputs, stride)
        projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        if self._version == 2:
            return projection
        return nn.Sequential(projection, nn.BatchNorm2d(outputs, momentum=_MOMENTUM[1]))


class ResNetClassifier(ResNetFeatures):
    """The published network: the features (and their options), mean pooling, `classes` logits."""

    def __init__(self, depth: Depth, classes: int, **features: Any) -> None:
        super().__init__(depth, **features)
        self.fc = nn.Linear(self.feature_channels, classes)
        nn.init.zeros_(self.fc.bias)

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to logits [B, K]."""
        logits_BK: torch.Tensor = self.fc(super().forward(frames_BCHW).mean(dim=(2, 3)))
        return logits_BK


def _pair(inputs: int, planes: int, stride: int) -> list[nn.Conv2d]:
    return [
        nn.Conv2d(inputs, planes, 3, stride, padding=1, bias=False),
        nn.Conv2d(planes, planes, 3, padding=1, bias=False),
    ]


def _bottleneck(inputs: int, planes: int, stride: int) -> list[nn.Conv2d]:
    return [
        nn.Conv2d(inputs, planes, 1, bias=False),
        nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False),
        nn.Conv2d(planes, planes * _WIDENING, 1, bias=False),
    ]


def _resnet(depth: Depth, version: Version = 1) -> BackboneEntry:
    paper = {1: "He et al. 2016, arXiv 1512.03385", 2: "He et al. 2016, arXiv 1603.05027"}
    return BackboneEntry(
        summary=f"residual network, {depth} layers{', pre-activation' if version == 2 else ''}",
        params=ResNetParams,
        features=partial(ResNetFeatures, depth, version=version),
        classifier=partial(ResNetClassifier, depth, version=version),
        smallest_input_px=32,
        paper=paper[version],
    )


def _plain(depth: Depth) -> BackboneEntry:
    return BackboneEntry(
        summary=f"residual network without its shortcuts, {depth} layers",
        params=PlainParams,
        features=partial(ResNetFeatures, depth, shortcut=None),
        classifier=partial(ResNetClassifier, depth, shortcut=None),
        smallest_input_px=32,
        paper="He et al. 2016, arXiv 1512.03385",
    )


ENTRIES = {
    "resnet10": _resnet(10),
    "resnet18": _resnet(18),
    "resnet34": _resnet(34),
    "resnet50": _resnet(50),
    "resnet101": _resnet(101),
    "resnet152": _resnet(152),
    "resnet18_v2": _resnet(18, version=2),
    "resnet34_v2": _resnet(34, version=2),
    "resnet50_v2": _resnet(50, version=2),
    "resnet101_v2": _resnet(101, version=2),
    "resnet152_v2": _resnet(152, version=2),
    "plain18": _plain(18),
    "plain34": _plain(34),
}

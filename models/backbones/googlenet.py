"""GoogLeNet, of naive or reduced inception modules, with its auxiliary heads.

Szegedy et al., "Going Deeper with Convolutions" (CVPR 2015). The public weights belong to a later form,
which `form="batch-norm"` builds with torchvision's keys and shapes: normalised, without biases, and with
3 x 3 where the paper has 5 x 5. They were trained on frames scaled to -1..1: mean 0.5 and spread 0.5.
Shape suffixes: B batch, C channels, H W frame, D h w feature grid, K classes.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from models.backbones.alexnet import response_normalisation
from models.backbones.entry import BackboneEntry, OutputStride, StridedParams
from models.backbones.initialisation import initialise
from models.backbones.stages import StagedNetwork
from models.schema import bounded

Form = Literal["batch-norm", "paper"]
Modules = Literal["reduced", "naive"]

AUXILIARY_WEIGHT = 0.3  # of each auxiliary head's loss, section 5


class Widths(NamedTuple):
    """Channels of one module's branches (table 1); `reduce_*` is the 1 x 1 convolution in front."""

    one: int
    reduce_three: int
    three: int
    reduce_five: int
    five: int
    pool: int


WIDTHS = {
    "inception3a": Widths(64, 96, 128, 16, 32, 32),
    "inception3b": Widths(128, 128, 192, 32, 96, 64),
    "inception4a": Widths(192, 96, 208, 16, 48, 64),
    "inception4b": Widths(160, 112, 224, 24, 64, 64),
    "inception4c": Widths(128, 128, 256, 24, 64, 64),
    "inception4d": Widths(112, 144, 288, 32, 64, 64),
    "inception4e": Widths(256, 160, 320, 32, 128, 128),
    "inception5a": Widths(256, 160, 320, 32, 128, 128),
    "inception5b": Widths(384, 192, 384, 48, 128, 128),
}
# The auxiliary heads look at the outputs of these two.
_TAPPED = ("inception4a", "inception4d")


@dataclass(frozen=True)
class GoogLeNetParams(StridedParams):
    """Options of GoogLeNet."""

    form: Literal["batch-norm", "paper"] = bounded(
        "batch-norm", doc="the form public weights exist for, or the paper's"
    )
    modules: Literal["reduced", "naive"] = bounded(
        "reduced", doc="naive: without 1 x 1 reductions, at many times the parameters"
    )


class Grids(NamedTuple):
    """What the heads read."""

    last_BDhw: torch.Tensor
    inception4a_BDhw: torch.Tensor
    inception4d_BDhw: torch.Tensor


class Logits(NamedTuple):
    """What training needs: the last head and the two on the way."""

    logits_BK: torch.Tensor
    auxiliary1_BK: torch.Tensor
    auxiliary2_BK: torch.Tensor


class Inception(nn.Module):
    """Four branches side by side over one grid; their channels are concatenated."""

    def __init__(self, inputs: int, widths: Widths, *, form: Form, modules: Modules) -> None:
        super().__init__()
        naive = modules == "naive"
        five = 5 if form == "paper" else 3

        def branch(reduce: int, channels: int, size: int) -> nn.Sequential:
            if naive:
                return _convolution(inputs, channels, size, form=form)
            reduction = _convolution(inputs, reduce, 1, form=form)
            return nn.Sequential(reduction, _convolution(reduce, channels, size, form=form))

        self.branch1 = _convolution(inputs, widths.one, 1, form=form)
        self.branch2 = branch(widths.reduce_three, widths.three, 3)
        self.branch3 = branch(widths.reduce_five, widths.five, five)
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1))
        if not naive:
            self.branch4.append(_convolution(inputs, widths.pool, 1, form=form))
        self.out_channels = widths.one + widths.three + widths.five + (inputs if naive else widths.pool)

    def forward(self, grid_BDhw: torch.Tensor) -> torch.Tensor:
        """Map a grid [B, inputs, h, w] to [B, out_channels, h, w]."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(grid_BDhw) for branch in branches], dim=1)


class GoogLeNetFeatures(StagedNetwork):
    """Three convolutions and nine inception modules.

    Args:
        form: "batch-norm", or "paper" with biases, response normalisation and 5 x 5 convolutions.
        modules: "naive" leaves out the 1 x 1 reductions, and each module hands on all channels it was given.
        in_channels: channels of the input frames.
        output_stride: 16 leaves out the last pooling.
    """

    input_layer = "conv1.conv"
    head = ("aux1", "aux2", "fc")
    outputs = ("aux1.fc2", "aux2.fc2", "fc")

    def __init__(
        self,
        *,
        form: Form = "batch-norm",
        modules: Modules = "reduced",
        in_channels: int = 3,
        output_stride: OutputStride = 32,
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, 64, 7, stride=2, form=form)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm1 = response_normalisation() if form == "paper" else nn.Identity()
        self.conv2 = _convolution(64, 64, 1, form=form)
        self.conv3 = _convolution(64, 192, 3, form=form)
        self.norm2 = response_normalisation() if form == "paper" else nn.Identity()
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.channels: dict[str, int] = {}
        channels = 192
        for name, widths in WIDTHS.items():
            module = Inception(channels, widths, form=form, modules=modules)
            self.add_module(name, module)
            self.channels[name] = channels = module.out_channels
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True) if output_stride == 32 else nn.Identity()
        self.feature_channels = channels
        initialise(self, "xavier")  # the paper does not say

    def feature_stages(self) -> dict[str, list[nn.Module]]:
        """`stem`, then the modules by their number in the paper: `inception3`, `inception4`, `inception5`."""
        stem: list[nn.Module] = [self.conv1, self.conv2, self.conv3]
        numbered = {
            f"inception{number}": [
                self.get_submodule(name) for name in WIDTHS if name.startswith(f"inception{number}")
            ]
            for number in (3, 4, 5)
        }
        return {"stem": stem, **numbered}

    def grids(self, frames_BCHW: torch.Tensor) -> Grids:
        """Map normalised frames to the last grid, and to the two on the way that auxiliary heads read."""
        stem = self.norm1(self.maxpool1(self.conv1(frames_BCHW)))
        stem = self.maxpool2(self.norm2(self.conv3(self.conv2(stem))))
        tapped1 = self._through(self.maxpool3(self._through(stem, "3a", "3b")), "4a")
        tapped2 = self._through(tapped1, "4b", "4c", "4d")
        last = self._through(self.maxpool4(self._through(tapped2, "4e")), "5a", "5b")
        return Grids(last, tapped1, tapped2)

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to features [B, feature_channels, H/stride, W/stride]."""
        return self.grids(frames_BCHW).last_BDhw

    def _through(self, grid_BDhw: torch.Tensor, *modules: str) -> torch.Tensor:
        for module in modules:
            grid_BDhw = self.get_submodule(f"inception{module}")(grid_BDhw)
        return grid_BDhw


class AuxiliaryHead(nn.Module):
    """A small classifier half way, which brings the gradient nearer to the early modules."""

    def __init__(self, inputs: int, classes: int, *, form: Form) -> None:
        super().__init__()
        # The paper's 5 x 5 windows at stride 3 make a 14 x 14 grid 4 x 4; this does so at any size of frame.
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = _convolution(inputs, 128, 1, form=form)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, classes)

    def forward(self, grid_BDhw: torch.Tensor) -> torch.Tensor:
        """Map a grid [B, inputs, h, w] to logits [B, K]."""
        hidden = torch.relu(self.fc1(self.conv(self.pool(grid_BDhw)).flatten(1)))
        logits_BK: torch.Tensor = self.fc2(self.dropout(hidden))
        return logits_BK


class GoogLeNetClassifier(GoogLeNetFeatures):
    """The published network: the features (and their options), mean pooling, `classes` logits.

    `forward` gives the logits alone; `all_logits` also asks the auxiliary heads, which only training needs.
    """

    def __init__(self, classes: int, *, form: Form = "batch-norm", **features: Any) -> None:
        super().__init__(form=form, **features)
        first, second = (self.channels[name] for name in _TAPPED)
        self.aux1 = AuxiliaryHead(first, classes, form=form)
        self.aux2 = AuxiliaryHead(second, classes, form=form)
        self.dropout = nn.Dropout(0.4 if form == "paper" else 0.2)
        self.fc = nn.Linear(self.feature_channels, classes)
        for head in (self.aux1, self.aux2, self.fc):
            initialise(head, "xavier")

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to logits [B, K]."""
        return self._classify(super().forward(frames_BCHW))

    def all_logits(self, frames_BCHW: torch.Tensor) -> Logits:
        """Logits of the three heads, for a loss of the last + `AUXILIARY_WEIGHT` * (first + second)."""
        last, tapped1, tapped2 = self.grids(frames_BCHW)
        return Logits(self._classify(last), self.aux1(tapped1), self.aux2(tapped2))

    def _classify(self, features_BDhw: torch.Tensor) -> torch.Tensor:
        logits_BK: torch.Tensor = self.fc(self.dropout(features_BDhw.mean(dim=(2, 3))))
        return logits_BK


def _convolution(inputs: int, channels: int, size: int, *, form: Form, stride: int = 1) -> nn.Sequential:
    """Convolution and rectifier; the grid keeps its size, but for the stride."""
    normalised = form == "batch-norm"
    layers: list[tuple[str, nn.Module]] = [
        ("conv", nn.Conv2d(inputs, channels, size, stride, padding=size // 2, bias=not normalised)),
        *([("bn", nn.BatchNorm2d(channels, eps=1e-3))] if normalised else []),
        ("relu", nn.ReLU(inplace=True)),
    ]
    return nn.Sequential(OrderedDict(layers))


ENTRIES = {
    "googlenet": BackboneEntry(
        summary="inception modules, 22 layers",
        params=GoogLeNetParams,
        features=GoogLeNetFeatures,
        classifier=GoogLeNetClassifier,
        smallest_input_px=32,
        paper="Szegedy et al. 2015, arXiv 1409.4842",
    ),
}

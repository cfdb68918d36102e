"""Residual networks as feature extractors: a thin builder over MONAI's ResNet.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016), v1 blocks, shortcut B.
Shape suffixes: B batch, C channels, H W frame, h w feature grid.
"""

from typing import Literal

import torch
from monai.networks.nets.resnet import ResNet
from torch import nn

Depth = Literal[10, 18, 34, 50]

# depth: (block, blocks per stage); 10 is the usual one-block-per-stage cut, not in the paper.
_STAGES: dict[int, tuple[str, list[int]]] = {
    10: ("basic", [1, 1, 1, 1]),
    18: ("basic", [2, 2, 2, 2]),
    34: ("basic", [3, 4, 6, 3]),
    50: ("bottleneck", [3, 4, 6, 3]),
}
_STAGE_CHANNELS = [64, 128, 256, 512]


class ResNetFeatures(ResNet):
    """ResNet without pooling and head; state-dict keys and shapes are torchvision's, `fc.*` left out.

    Args:
        depth: 10, 18, 34 or 50.
        in_channels: channels of the input frames.
        width: multiplies the channels of every stage (1.0 is the published network).
        output_stride: frame pixels per cell of the feature grid; 16 leaves out the stride of the last stage,
            which gives activation maps of twice the resolution for about 1.8 times the work.
    """

    feature_channels: int

    def __init__(
        self, depth: Depth, *, in_channels: int = 3, width: float = 1.0, output_stride: Literal[16, 32] = 32
    ) -> None:
        block, blocks = _STAGES[depth]
        super().__init__(
            block,
            blocks,
            _STAGE_CHANNELS,
            spatial_dims=2,
            n_input_channels=in_channels,
            # MONAI's defaults (stride 1, biased shortcuts) are 4-8 times slower and not the paper's network.
            conv1_t_stride=2,
            bias_downsample=False,
            widen_factor=width,
            feed_forward=False,
        )
        self.feature_channels = self.in_planes
        if output_stride == 16:
            _remove_stride(self.layer4)

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Map normalised frames [B, C, H, W] to features [B, feature_channels, H/stride, W/stride]."""
        stem = self.maxpool(self.act(self.bn1(self.conv1(frames_BCHW))))
        features_BChw: torch.Tensor = self.layer4(self.layer3(self.layer2(self.layer1(stem))))
        return features_BChw


def _remove_stride(stage: nn.Module) -> None:
    for layer in stage.modules():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)

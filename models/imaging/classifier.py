"""Image classifier: a published network with its own head, and how it looks at a frame.

Shape suffixes: V views, B batch, C channels, H W frame, h w view, K classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast, get_args

import torch
from torch import nn

from models.backbones.build import build_classifier
from models.backbones.googlenet import AUXILIARY_WEIGHT, GoogLeNetClassifier
from models.backbones.stages import StagedNetwork
from models.imaging.crops import TestTime, views
from models.schema import SchemaError


class ClassifierOutput(NamedTuple):
    """What one forward pass gives, all float32; the fields are a detector's.

    Attributes:
        logits_BK: raw scores; over several views the logarithm of the mean probability.
        embedding_BD: D is 0: published heads differ in what lies before their last layer.
        cam_BKhw: h and w are 0: behind hidden dense layers there is no map.
    """

    logits_BK: torch.Tensor
    embedding_BD: torch.Tensor
    cam_BKhw: torch.Tensor


class ImageClassifier(nn.Module):
    """Single-label classifier around a published network.

    Args:
        network: module from normalised frames [B, C, h, w] to logits [B, K], passed in built.
        mean: per channel, on the 0..1 scale, subtracted first.
        std: per channel, on the 0..1 scale, divided by afterwards.
        test_time: what it looks at to answer: the whole frame, its centre, or ten crops.
        crop_px: side of these crops.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        network: StagedNetwork,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        test_time: TestTime = "whole",
        crop_px: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.test_time, self._crop_px = test_time, crop_px or 0
        # Not in the state dict: the spec's input contract is the one place that holds them.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, frames_BCHW: torch.Tensor) -> ClassifierOutput:
        """Read frames [B, C, H, W], RGB: uint8 in 0..255 or floating point in 0..1 (the dtype decides)."""
        logits_BK = self.scores(frames_BCHW, self.test_time)
        return ClassifierOutput(logits_BK, logits_BK[:, :0], logits_BK.new_zeros((*logits_BK.shape, 0, 0)))

    def scores(self, frames_BCHW: torch.Tensor, how: TestTime) -> torch.Tensor:
        """Scores [B, K], whose softmax is the mean of the softmax of all views."""
        views_VBChw = views(self._normalise(frames_BCHW), how, self._crop_px)
        count, frames = views_VBChw.shape[:2]
        logits_VBK = self.network(views_VBChw.flatten(0, 1)).float().unflatten(0, (count, frames))
        if count == 1:
            return cast(torch.Tensor, logits_VBK[0])
        return cast(torch.Tensor, logits_VBK.log_softmax(dim=-1).logsumexp(dim=0) - torch.tensor(count).log())

    def all_logits(self, frames_BCHW: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        """Logits [B, K] of every head and the weight of its loss: GoogLeNet has three, the others one."""
        normalised = self._normalise(frames_BCHW)
        if not isinstance(self.network, GoogLeNetClassifier):
            return [(1.0, self.network(normalised))]
        last, *auxiliary = self.network.all_logits(normalised)
        return [(1.0, last), *((AUXILIARY_WEIGHT, logits_BK) for logits_BK in auxiliary)]

    def _normalise(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        if frames_BCHW.dtype == torch.uint8:
            frames_BCHW = frames_BCHW.to(self.mean.dtype) / 255
        return (frames_BCHW - self.mean) / self.std


def build_image_classifier(
    backbone: str,
    backbone_params: Mapping[str, Any],
    class_count: int,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    test_time: str = "whole",
    crop_px: int | None = None,
) -> ImageClassifier:
    """Classifier with fresh weights over a registered backbone's published network.

    Raises:
        UnknownBackbone: the name is not registered.
        SchemaError: the options do not fit the backbone, or there is no such way to look at a frame.
    """
    if test_time not in get_args(TestTime) or (test_time != "whole" and not crop_px):
        known = ", ".join(get_args(TestTime))
        raise SchemaError("/test_time", f"must be one of {known}, and a crop needs a side")
    network = build_classifier(backbone, backbone_params, class_count)
    return ImageClassifier(network, mean=mean, std=std, test_time=cast(TestTime, test_time), crop_px=crop_px)

"""Lesion detector: backbone, global pooling, one dense layer; maps come out of the same forward pass.

After Laiz et al., "WCE polyp detection with triplet based embeddings" (CMIG 2020); the class activation maps
after Zhou et al., "Learning Deep Features for Discriminative Localization" (CVPR 2016); log-sum-exp pooling
after Pinheiro and Collobert, "From Image-level to Pixel-level Labeling" (CVPR 2015).
Shape suffixes: B batch, C channels, H W frame, h w feature grid, D embedding, K labels.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from torch import nn

from models.backbones.build import build_backbone
from models.schema import SchemaError

UNKNOWN = -1
# How a map becomes its logit: every cell counts alike, or the strongest count most (a soft maximum).
Pooling = Literal["mean", "log-sum-exp"]
# Where the classifier's gradient goes: through to the backbone, or no further than its own dense layer.
Routing = Literal["joint", "detached"]
# Half range, half spread: capsule frames are not photographs, so ImageNet's constants have no claim here.
DEFAULT_MEAN = (0.5, 0.5, 0.5)
DEFAULT_STD = (0.25, 0.25, 0.25)


class DetectorOutput(NamedTuple):
    """What one forward pass gives, all float32.

    Attributes:
        logits_BK: raw scores.
        embedding_BD: pooled features, not normalised.
        cam_BKhw: class activation maps in logit units: pooled, plus the bias, they are the logit.
    """

    logits_BK: torch.Tensor
    embedding_BD: torch.Tensor
    cam_BKhw: torch.Tensor


class LesionDetector(nn.Module):
    """Multi-label detector over a backbone that is passed in built.

    Args:
        backbone: module from [B, C, H, W] to features [B, D, h, w], with D as attribute `feature_channels`.
        label_count: K.
        mean: per channel, on the 0..1 scale, subtracted first.
        std: per channel, on the 0..1 scale, divided by afterwards.
        routing: "detached" keeps the gradients of logits and maps from the backbone, which then learns from
            what is made of the embedding alone, or nothing; it changes no answer.
        pooling: "mean" makes the classifier a plain dense layer on the embedding; "log-sum-exp" lets a small
            lesion decide. The embedding is the mean of the features either way.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        backbone: nn.Module,
        label_count: int,
        *,
        mean: Sequence[float] = DEFAULT_MEAN,
        std: Sequence[float] = DEFAULT_STD,
        routing: Routing = "joint",
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self._routing, self._pooling = routing, pooling
        self.head = nn.Linear(cast(int, backbone.feature_channels), label_count)
        # Not in the state dict: the spec's input contract is the one place that holds them.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, frames_BCHW: torch.Tensor) -> DetectorOutput:
        """Read frames [B, C, H, W], RGB: uint8 in 0..255 or floating point in 0..1 (the dtype decides)."""
        features_BDhw = self.backbone(self.normalise(frames_BCHW)).float()
        # Outside autocast: in bf16 the mean of the map would miss the logit by a per cent.
        with torch.autocast(frames_BCHW.device.type, enabled=False):
            embedding_BD = features_BDhw.mean(dim=(2, 3))
            if self._routing == "detached":
                features_BDhw = features_BDhw.detach()
            cam_BKhw = torch.einsum("bdhw,kd->bkhw", features_BDhw, self.head.weight)
            logits_BK = pool(cam_BKhw, self._pooling) + self.head.bias
        return DetectorOutput(logits_BK, embedding_BD, cam_BKhw)

    def normalise(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        """Subtract `mean` and divide by `std` on the 0..1 scale."""
        if frames_BCHW.dtype == torch.uint8:
            frames_BCHW = frames_BCHW.to(self.mean.dtype) / 255
        return (frames_BCHW - self.mean) / self.std


def pool(cam_BKhw: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Maps [B, K, h, w] to [B, K]: their mean, or the logarithm of the mean of their exponentials."""
    if pooling == "mean":
        return cam_BKhw.mean(dim=(2, 3))
    cells_BKn = cam_BKhw.flatten(2)
    return cells_BKn.logsumexp(dim=2) - math.log(cells_BKn.shape[2])


def build_detector(
    backbone: str,
    backbone_params: Mapping[str, Any],
    label_count: int,
    *,
    mean: Sequence[float] = DEFAULT_MEAN,
    std: Sequence[float] = DEFAULT_STD,
    routing: Routing = "joint",
    pooling: Pooling = "mean",
) -> LesionDetector:
    """Detector with fresh weights over a registered backbone (errors as `build_backbone`)."""
    if pooling not in get_args(Pooling):
        raise SchemaError("/pooling", f"must be one of {', '.join(get_args(Pooling))}")
    built = build_backbone(backbone, backbone_params)
    return LesionDetector(built, label_count, mean=mean, std=std, routing=routing, pooling=pooling)


def masked_bce(logits_BK: torch.Tensor, labels_BK: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy averaged over the known labels only.

    Args:
        logits_BK: raw scores, float [B, K].
        labels_BK: 0, 1 or -1 (unknown) [B, K], any numeric dtype.

    Returns:
        Scalar; 0 with a zero gradient when every label of the batch is unknown.
    """
    known_BK = labels_BK != UNKNOWN
    loss_BK = nn.functional.binary_cross_entropy_with_logits(
        logits_BK, labels_BK.clamp(min=0).to(logits_BK.dtype), reduction="none"
    )
    return torch.where(known_BK, loss_BK, 0.0).sum() / known_BK.sum().clamp(min=1)

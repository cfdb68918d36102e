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
# What the backbone sees: the camera's colours, or how each pixel differs from the frame's own mean colour.
Colour = Literal["recorded", "per-frame"]
# How a map becomes its logit: every cell counts alike, or the strongest count most (a soft maximum).
Pooling = Literal["mean", "log-sum-exp"]
# Where the classifier's gradient goes: through to the backbone, or no further than its own dense layer.
Routing = Literal["joint", "detached"]
# Half range, half spread: capsule frames are not photographs, so ImageNet's constants have no claim here.
DEFAULT_MEAN = (0.5, 0.5, 0.5)
DEFAULT_STD = (0.25, 0.25, 0.25)
_SURROUND = 8 / 255  # brightest channel of what JPEG leaves of black
_FLAT = 0.02  # spread that sensor noise alone has: a frame of one colour is not blown up


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
        colour: "per-frame" takes the place of `mean` and `std` (see `standardise`).
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
        colour: Colour = "recorded",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self._routing, self._pooling, self._colour = routing, pooling, colour
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
        """What the backbone sees of frames [B, C, H, W]: no unit, mostly between -3 and 3."""
        if frames_BCHW.dtype == torch.uint8:
            frames_BCHW = frames_BCHW.to(self.mean.dtype) / 255
        if self._colour == "per-frame":
            return standardise(frames_BCHW)
        return (frames_BCHW - self.mean) / self.std


def standardise(frames_BCHW: torch.Tensor) -> torch.Tensor:
    """Each channel about its mean, over its spread, inside the field of view of each frame; 0 outside.

    Lamps, white balance and the hue of the mucosa differ more between capsules than between lesions. What the
    whole frame has in common is lost: a frame that is all blood looks like one that is all mucosa.

    Args:
        frames_BCHW: 0..1, black outside the field of view.
    """
    field_B1HW = (frames_BCHW.amax(dim=1, keepdim=True) > _SURROUND).to(frames_BCHW.dtype)
    count_B111 = field_B1HW.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    mean_BC11 = (frames_BCHW * field_B1HW).sum(dim=(2, 3), keepdim=True) / count_B111
    centred_BCHW = (frames_BCHW - mean_BC11) * field_B1HW
    spread_BC11 = (centred_BCHW.square().sum(dim=(2, 3), keepdim=True) / count_B111).sqrt()
    return centred_BCHW / (spread_BC11 + _FLAT)


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
    colour: Colour = "recorded",
) -> LesionDetector:
    """Detector with fresh weights over a registered backbone (errors as `build_backbone`)."""
    for name, value, choices in (("pooling", pooling, Pooling), ("colour", colour, Colour)):
        if value not in get_args(choices):
            raise SchemaError(f"/{name}", f"must be one of {', '.join(get_args(choices))}")
    built = build_backbone(backbone, backbone_params)
    return LesionDetector(
        built, label_count, mean=mean, std=std, routing=routing, pooling=pooling, colour=colour
    )


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

"""Triplet losses over a batch: frames of one kind lie nearer to each other than to any other kind.

Schroff et al., "FaceNet" (CVPR 2015); batch-all and batch-hard mining after Hermans et al., "In Defense of
the Triplet Loss" (arXiv 1703.07737); for capsule frames Laiz et al. (CMIG 2020).
Shape suffixes: B batch, D embedding, K labels; BB anchor by other frame, BBB anchor by positive by negative.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch.nn import functional

from models.imaging.detector import UNKNOWN
from models.schema import bounded

Mining = Literal["batch-all", "batch-hard"]


@dataclass(frozen=True)
class TripletParams:
    """Which triplets count, and how; the defaults are the reference work's."""

    mining: Mining = "batch-all"
    margin: float = bounded(0.2, minimum=0, maximum=100, doc="in units of the distance")
    squared: bool = bounded(False, doc="squared Euclidean distances")
    soft: bool = bounded(False, doc="softplus instead of the hinge: no margin, no triplet is ever satisfied")
    summed: bool = bounded(False, doc="sum instead of the mean, as FaceNet writes it")
    weight: float = bounded(1.0, minimum=0, maximum=100, doc="beside a cross-entropy of weight 1")


class TripletLoss(NamedTuple):
    """Scalar loss, and the share of valid triplets (of anchors, if batch-hard) that are not satisfied yet.

    Both are 0 where the batch has no valid triplet.
    """

    loss: torch.Tensor
    active: torch.Tensor


class Relations(NamedTuple):
    """bool [B, B] each: pairs that belong together, and pairs that do not; a pair may be neither."""

    alike_BB: torch.Tensor
    different_BB: torch.Tensor


def triplet_loss(embedding_BD: torch.Tensor, labels_BK: torch.Tensor, params: TripletParams) -> TripletLoss:
    """The loss of one batch.

    Args:
        embedding_BD: pooled features, float [B, D], not normalised.
        labels_BK: 1, 0 or -1 for unknown, any numeric dtype.
        params: mining, margin, distance.
    """
    # Outside autocast: a margin of .2 is below what bf16 resolves at distances over 32.
    with torch.autocast(embedding_BD.device.type, enabled=False):
        distance_BB = distances(embedding_BD.float(), squared=params.squared)
        return _MINING[params.mining](distance_BB, relations(labels_BK), params)


def distances(embedding_BD: torch.Tensor, *, squared: bool) -> torch.Tensor:
    """Euclidean distances [B, B] of float32 embeddings; equal embeddings have distance and gradient 0."""
    # Not by matrix products: those lose all digits of small distances between long vectors.
    root_BB = torch.cdist(embedding_BD, embedding_BD, compute_mode="donot_use_mm_for_euclid_dist")
    return root_BB.square() if squared else root_BB


def relations(labels_BK: torch.Tensor) -> Relations:
    """Who belongs together among frames of several, partly unknown labels.

    Different are frames that disagree on a label known of both. Alike are frames that disagree on none and
    either share a lesion or are known in full. Of all others too little is known.
    """
    known_BK, positive_BK = labels_BK != UNKNOWN, labels_BK == 1
    negative_BK = known_BK & ~positive_BK
    against_BB = _both(positive_BK, negative_BK)
    different_BB = against_BB | against_BB.T
    full_B = known_BK.all(dim=1)
    related_BB = _both(positive_BK, positive_BK) | (full_B[:, None] & full_B[None, :])
    itself_BB = torch.eye(len(labels_BK), dtype=torch.bool, device=labels_BK.device)
    return Relations(related_BB & ~different_BB & ~itself_BB, different_BB)


def _both(one_BK: torch.Tensor, other_BK: torch.Tensor) -> torch.Tensor:
    """bool [B, B]: whether any label holds in row b of `one` and in row c of `other`."""
    return (one_BK.float() @ other_BK.float().T) > 0


def _batch_all(distance_BB: torch.Tensor, pairs: Relations, params: TripletParams) -> TripletLoss:
    """Mean over the triplets that are not satisfied, so that easy ones do not drown them."""
    difference_BBB = distance_BB[:, :, None] - distance_BB[:, None, :]
    valid_BBB = pairs.alike_BB[:, :, None] & pairs.different_BB[:, None, :]
    counted_BBB = valid_BBB if params.soft else valid_BBB & (difference_BBB + params.margin > 0)
    return _reduce(difference_BBB, valid_BBB, counted_BBB.sum(), params)


def _batch_hard(distance_BB: torch.Tensor, pairs: Relations, params: TripletParams) -> TripletLoss:
    """Per anchor the farthest of its kind and the nearest of another; mean over anchors that have both."""
    valid_B = pairs.alike_BB.any(dim=1) & pairs.different_BB.any(dim=1)
    farthest_B = distance_BB.masked_fill(~pairs.alike_BB, -torch.inf).amax(dim=1)
    nearest_B = distance_BB.masked_fill(~pairs.different_BB, torch.inf).amin(dim=1)
    # The infinities of anchors that do not count would make their gradients NaN.
    difference_B = torch.where(valid_B, farthest_B, 0.0) - torch.where(valid_B, nearest_B, 0.0)
    return _reduce(difference_B, valid_B, valid_B.sum(), params)


def _reduce(
    difference: torch.Tensor, valid: torch.Tensor, counted: torch.Tensor, params: TripletParams
) -> TripletLoss:
    total = torch.where(valid, _penalty(difference, params), 0.0).sum()
    active = (valid & (difference + params.margin > 0)).sum() / valid.sum().clamp(min=1)
    return TripletLoss(total if params.summed else total / counted.clamp(min=1), active)


def _penalty(difference: torch.Tensor, params: TripletParams) -> torch.Tensor:
    """Of distance to the positive less distance to the negative."""
    if params.soft:
        return functional.softplus(difference)
    return functional.relu(difference + params.margin)


_MINING: Mapping[Mining, Callable[[torch.Tensor, Relations, TripletParams], TripletLoss]] = {
    "batch-all": _batch_all,
    "batch-hard": _batch_hard,
}

"""The lesion detector as a task of the shared training loop.

Shape suffixes: N frames, B batch, C channels, H W frame, h w map grid, K labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from models.imaging.augment import Augmentation, augment
from models.imaging.balance import balanced_batches, kinds_by_frames
from models.imaging.decoded import Coverage
from models.imaging.detector import DetectorOutput, LesionDetector, masked_bce
from models.imaging.triplet import TripletParams, triplet_loss
from models.metrics import auc
from models.training import StepLoss

Batch = npt.NDArray[np.int64]
Sampling = Literal["balanced", "p-by-k"]
# Decides between epochs of equal AUC (often 1.0): the better calibrated one, and never outweighs .001 of AUC.
_LOSS_WEIGHT = 1e-3
_EVALUATION_BATCH = 64


@dataclass(frozen=True)
class TaskSettings:
    """What the loop does not know: batches, augmentation, and the terms beside cross-entropy."""

    batch_size: int
    steps_per_epoch: int
    augmentation: Augmentation
    map_weight: float
    triplet: TripletParams | None
    cell_weight: float = 0.0
    sampling: Sampling = "balanced"
    kinds_per_batch: int = 4


class LesionTask:
    """Balanced, augmented batches; masked cross-entropy, and as asked for a localisation term and triplets.

    Args:
        module: the detector.
        frames_NHWC: uint8 RGB of all frames, not only the training ones.
        labels_NK: 1, 0 or -1 for unknown.
        train_N: numbers of the training frames.
        tune_N: numbers of the frames that choose the epoch.
        coverage: where lesions are, if anybody has drawn it.
        settings: batches, augmentation, weights.
        device: where batches go.
    """

    monitor = "tune_score"

    def __init__(
        self,
        module: LesionDetector,
        frames_NHWC: npt.NDArray[np.uint8],
        labels_NK: npt.NDArray[np.int8],
        *,
        train_N: npt.NDArray[np.int64],
        tune_N: npt.NDArray[np.int64],
        coverage: Coverage | None,
        settings: TaskSettings,
        device: torch.device,
    ) -> None:
        self.module: torch.nn.Module = module
        self._frames_NHWC = frames_NHWC
        self._labels_NK = torch.from_numpy(labels_NK)
        self._train_N, self._tune_N = train_N, tune_N
        self._coverage = coverage if max(settings.map_weight, settings.cell_weight) > 0 else None
        self._settings, self._device = settings, device

    def batches(self, epoch: int, rng: np.random.Generator) -> list[Batch]:
        """Frame numbers of an epoch."""
        settings, labels_MK = self._settings, self._labels_NK[self._train_N].numpy()
        size = {"batch_size": settings.batch_size, "count": settings.steps_per_epoch}
        if settings.sampling == "p-by-k":
            plan = kinds_by_frames(labels_MK, kinds=settings.kinds_per_batch, rng=rng, **size)
        else:
            plan = balanced_batches(labels_MK, rng=rng, **size)
        return [self._train_N[batch] for batch in plan]

    def loss(self, module: torch.nn.Module, batch: Batch) -> StepLoss:
        """Masked cross-entropy and the terms that are asked for, logged as they are before their weights."""
        share_BKGG = self._shares(batch)
        frames_BCHW, share_BKGG = augment(
            self._frames(batch), self._settings.augmentation, maps_BKHW=share_BKGG
        )
        output: DetectorOutput = module(frames_BCHW.contiguous(memory_format=torch.channels_last))
        labels_BK = self._labels_NK[batch].to(self._device)
        terms = {"classification_loss": (masked_bce(output.logits_BK, labels_BK), 1.0)}
        told: dict[str, float] = {}
        if share_BKGG is not None:
            drawn_BK = self._drawn(batch, labels_BK)
            pointing = pointing_loss(output.cam_BKhw, share_BKGG, drawn_BK)
            terms["pointing_loss"] = (pointing, self._settings.map_weight)
            if self._settings.cell_weight > 0:
                cells_BKhw = output.cam_BKhw + cast(LesionDetector, module).head.bias[:, None, None]
                cells = cell_loss(cells_BKhw, share_BKGG, drawn_BK, labels_BK == 0)
                terms["cell_loss"] = (cells, self._settings.cell_weight)
        if (triplet := self._settings.triplet) is not None:
            found = triplet_loss(output.embedding_BD, labels_BK, triplet)
            terms["triplet_loss"] = (found.loss, triplet.weight)
            told["active_triplets"] = found.active.item()
            told["embedding_norm"] = output.embedding_BD.detach().norm(dim=1).mean().item()
        total = torch.stack([weight * term for term, weight in terms.values()]).sum()
        if len(terms) == 1:
            return StepLoss(total)
        return StepLoss(total, told | {name: term.item() for name, (term, _) in terms.items()})

    def _shares(self, batch: Batch) -> torch.Tensor | None:
        if self._coverage is None:
            return None
        return torch.from_numpy(self._coverage.share_NKGG[batch]).to(self._device) / 255

    def _drawn(self, batch: Batch, labels_BK: torch.Tensor) -> torch.Tensor:
        assert self._coverage is not None  # noqa: S101 - for the type checker: shares come from it
        return torch.from_numpy(self._coverage.known_NK[batch]).to(self._device) & (labels_BK == 1)

    def evaluate(self, module: torch.nn.Module) -> Mapping[str, float | None]:
        """Tune loss and AUC; `tune_score` is their mean AUC, less a thousandth of the loss."""
        logits_NK, labels_NK = self._tune_logits(module), self._labels_NK[self._tune_N]
        loss = masked_bce(logits_NK, labels_NK).item()
        areas = [
            auc(labels.numpy(), scores.numpy())
            for labels, scores in zip(labels_NK.T, logits_NK.T, strict=True)
        ]
        defined = [area for area in areas if area is not None]
        mean = float(np.mean(defined)) if defined else None
        score = None if mean is None else mean - _LOSS_WEIGHT * loss
        return {"tune_loss": loss, "tune_mean_auc": mean, "tune_score": score}

    def _tune_logits(self, module: torch.nn.Module) -> torch.Tensor:
        starts = range(0, len(self._tune_N), _EVALUATION_BATCH)
        parts = [module(self._frames(self._tune_N[start : start + _EVALUATION_BATCH])) for start in starts]
        return torch.cat([part.logits_BK for part in parts]).cpu()

    def _frames(self, batch: Batch) -> torch.Tensor:
        return torch.from_numpy(self._frames_NHWC[batch]).to(self._device).permute(0, 3, 1, 2)


def pointing_loss(cam_BKhw: torch.Tensor, share_BKGG: torch.Tensor, known_BK: torch.Tensor) -> torch.Tensor:
    """Minus the log of the chance that a cell drawn from the map's softmax is lesion.

    It is blind to the map's level, so it leaves the identity of map and logit alone; where a lesion fills
    only part of a cell it asks for no more than the best cell can give.

    Args:
        cam_BKhw: activation maps.
        share_BKGG: share of each cell of any finer grid that is lesion, 0..1.
        known_BK: bool, where the place is known.

    Returns:
        Scalar mean over the known maps; 0 where none is known or the lesion left the frame.
    """
    height, width = cam_BKhw.shape[2:]
    share_BKhw = functional.adaptive_avg_pool2d(share_BKGG, (height, width))
    best_BK = share_BKhw.amax(dim=(2, 3))
    usable_BK = known_BK & (best_BK > 0.05)
    chance = (cam_BKhw.flatten(2).softmax(dim=2) * share_BKhw.flatten(2)).sum(dim=2) / best_BK.clamp(min=0.05)
    loss_BK = -torch.log(chance.clamp(min=1e-6))
    return torch.where(usable_BK, loss_BK, 0.0).sum() / usable_BK.sum().clamp(min=1)


def cell_loss(
    cells_BKhw: torch.Tensor, share_BKGG: torch.Tensor, known_BK: torch.Tensor, absent_BK: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of each cell with the share of it that is lesion; without the lesion all cells are 0.

    It goes with log-sum-exp pooling, where a cell plus the bias is a logit of its own.

    Args:
        cells_BKhw: activation maps plus the bias.
        share_BKGG: share of each cell of any finer grid that is lesion, 0..1.
        known_BK: bool, where the place of a lesion is known.
        absent_BK: bool, where it is known that there is none.

    Returns:
        Scalar mean over the cells of the maps that count; 0 where none does.
    """
    height, width = cells_BKhw.shape[2:]
    share_BKhw = functional.adaptive_avg_pool2d(share_BKGG, (height, width))
    share_BKhw = torch.where(absent_BK[:, :, None, None], 0.0, share_BKhw)
    loss_BKhw = functional.binary_cross_entropy_with_logits(cells_BKhw, share_BKhw, reduction="none")
    counts_BK = known_BK | absent_BK
    per_map_BK = torch.where(counts_BK, loss_BKhw.mean(dim=(2, 3)), 0.0)
    return per_map_BK.sum() / counts_BK.sum().clamp(min=1)

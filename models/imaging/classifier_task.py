"""The image classifier as a task of the shared training loop.

Shape suffixes: N frames, M training frames, B batch, C channels, H W frame, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from models.imaging.augment import Augmentation, augment
from models.imaging.balance import balanced_batches
from models.imaging.classes import one_hot
from models.imaging.classifier import ImageClassifier
from models.imaging.classifier_frames import Side
from models.imaging.crops import RandomCrop, TestTime, random_crop
from models.imaging.pca_jitter import ColourAxes, pca_jitter
from models.multiclass import multiclass_metrics
from models.training import StepLoss

Batch = npt.NDArray[np.int64]
# Decides between epochs of equal balanced accuracy: the better calibrated one.
_LOSS_WEIGHT = 1e-3
_EVALUATION_BATCH = 32


@dataclass(frozen=True)
class ClassifierSettings:
    """What the loop does not know: batches and what is done to frames before they are learnt from."""

    batch_size: int
    steps_per_epoch: int
    balanced: bool
    crop: RandomCrop | None
    augmentation: Augmentation
    colour_axes: ColourAxes | None
    pca_jitter: float


class ClassifierTask:
    """Batches of frames and their classes; cross-entropy of every head.

    Args:
        module: the classifier.
        class_count: K.
        train_side: what is learnt from, at the size from which random crops are cut.
        tune_side: what chooses the epoch, at the version's own size.
        settings: batches, crops, jitter.
        device: where batches go.
    """

    monitor = "tune_score"

    def __init__(
        self,
        module: ImageClassifier,
        class_count: int,
        *,
        train_side: Side,
        tune_side: Side,
        settings: ClassifierSettings,
        device: torch.device,
    ) -> None:
        self.module: torch.nn.Module = module
        self._class_count = class_count
        self._train, self._tune = train_side, tune_side
        self._settings, self._device = settings, device
        # Ten crops cost ten times as much and order epochs alike, so the centre chooses.
        self._look: TestTime = "centre" if module.test_time == "ten-crop" else module.test_time

    def batches(self, epoch: int, rng: np.random.Generator) -> list[Batch]:
        """Numbers of the training frames: every class as often, or every frame once."""
        size, count = self._settings.batch_size, self._settings.steps_per_epoch
        if not self._settings.balanced:
            needed = -(-size * count // len(self._train.class_M))
            order = [rng.permutation(len(self._train.class_M)) for _ in range(needed)]
            return list(np.concatenate(order)[: size * count].reshape(count, size))
        known_MK = one_hot(self._train.class_M, self._class_count)
        # Positives alone take turns: what is no class of a frame's is no reason to show it.
        return balanced_batches(np.where(known_MK == 1, known_MK, -1), batch_size=size, count=count, rng=rng)

    def loss(self, module: torch.nn.Module, batch: Batch) -> StepLoss:
        """Cross-entropy; auxiliary heads count with their weights."""
        assert isinstance(module, ImageClassifier)  # noqa: S101 - for the type checker: it is the task's own
        classes_B = torch.from_numpy(self._train.class_M[batch]).to(self._device)
        terms = [
            weight * functional.cross_entropy(logits_BK.float(), classes_B)
            for weight, logits_BK in module.all_logits(self._changed(batch))
        ]
        logs = {"main_loss": terms[0].item()} if len(terms) > 1 else {}
        return StepLoss(torch.stack(terms).sum(), logs)

    def evaluate(self, module: torch.nn.Module) -> Mapping[str, float | None]:
        """Tune loss and accuracies; `tune_score` is the balanced one less a thousandth of the loss."""
        assert isinstance(module, ImageClassifier)  # noqa: S101 - for the type checker: it is the task's own
        scores_NK = self._tune_scores(module)
        class_N = self._tune.class_M
        loss = functional.cross_entropy(scores_NK, torch.from_numpy(class_N)).item()
        found = multiclass_metrics(class_N, scores_NK.softmax(dim=1).numpy(), np.zeros(len(class_N)))
        values = {name: None if value is None else value.value for name, value in found.items()}
        balanced = values["balanced_accuracy"]
        return {
            "tune_loss": loss,
            "tune_accuracy": values["accuracy"],
            "tune_balanced_accuracy": balanced,
            "tune_mean_auc": values["mean_auc"],
            "tune_score": None if balanced is None else balanced - _LOSS_WEIGHT * loss,
        }

    def _changed(self, batch: Batch) -> torch.Tensor:
        how = self._settings
        frames_BCHW = self._on_device(self._train, batch)
        if how.crop is not None:
            frames_BCHW = random_crop(frames_BCHW, how.crop)
        frames_BCHW, _ = augment(frames_BCHW, how.augmentation)
        if how.colour_axes is not None:
            frames_BCHW = pca_jitter(frames_BCHW, how.colour_axes, how.pca_jitter)
        return frames_BCHW.contiguous(memory_format=torch.channels_last)

    def _tune_scores(self, module: ImageClassifier) -> torch.Tensor:
        rows = np.arange(len(self._tune.rows_M))
        parts = np.split(rows, range(_EVALUATION_BATCH, len(rows), _EVALUATION_BATCH))
        return torch.cat(
            [module.scores(self._on_device(self._tune, part), self._look) for part in parts]
        ).cpu()

    def _on_device(self, side: Side, numbers: Batch) -> torch.Tensor:
        frames_BHWC = side.frames_NHWC[side.rows_M[numbers]]
        return torch.from_numpy(frames_BHWC).to(self._device).permute(0, 3, 1, 2)

"""From prepared frames to a fitted, calibrated detector: what the recipe and the comparison share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from models.artifacts import InputContract, ModelSpec
from models.backbones.stages import StagedNetwork
from models.devices import pick_device
from models.events import Event
from models.imaging.augment import NONE
from models.imaging.detector import LesionDetector, build_detector
from models.imaging.evidence import one_kind
from models.imaging.lesion_params import LesionDetectorParams
from models.imaging.lesion_spec import calibrate, make_spec
from models.imaging.lesion_task import LesionTask, TaskSettings
from models.imaging.mixture import Frames
from models.imaging.predictor import Predictor
from models.imaging.prepare import PreparedFrames
from models.imaging.preprocess import KERNEL
from models.imaging.transfer_options import NORMALISATIONS, WeightsFile
from models.training import Completed, Interrupted, train


@dataclass(frozen=True)
class Fitted:
    """A detector whose weights, epoch, calibration and thresholds are chosen; nothing of it is measured yet.

    `uncalibrated` names the labels for which the tune side could not say what their scores mean.
    """

    detector: LesionDetector
    spec: ModelSpec
    outcome: Completed
    uncalibrated: list[str]
    device: torch.device

    def predictor(self) -> Predictor:
        return Predictor(self.detector, self.spec, device=self.device)


def fit(
    frames: PreparedFrames,
    settings: LesionDetectorParams,
    work_dir: Path,
    *,
    dataset: Frames,
    initial_weights: WeightsFile | None = None,
    resume_from: Path | None = None,
    report: Callable[[Event], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Fitted | Interrupted:
    """Learn on the training side; choose the epoch, the calibration and the thresholds on the tune side.

    `dataset` is where the frames are from; the spec names its fingerprint.

    Raises:
        SchemaError, ArtifactRefused: see `TransferOptions.prepare`.
        TrainingFailed, CheckpointDamaged: see `models.training.train`.
    """
    device = pick_device(settings.device)
    detector = fresh_detector(settings, len(frames.label_names))
    settings.prepare(cast(StagedNetwork, detector.backbone), initial_weights)
    outcome = train(
        _task(frames, settings, detector, device),
        settings.training(),
        work_dir,
        device=device,
        resume_from=resume_from,
        report=report,
        should_stop=should_stop,
    )
    if isinstance(outcome, Interrupted):
        return outcome
    mean, std = NORMALISATIONS[settings.normalisation]
    spec = make_spec(
        builder=settings.builder(),
        contract=InputContract(settings.size_px, 3, KERNEL, mean=mean, std=std),
        label_names=frames.label_names,
        dataset_fingerprint=dataset.fingerprint(),
        contents=dataset.contents(),
        licence=settings.licence,
        seed=settings.seed,
        dtype=outcome.dtype,
    )
    tune_N = frames.on("tune")
    tuned = Predictor(detector, spec, device=device).predict(frames.pixels_NHWC, rows_B=tune_N)
    labels_NK, _ = one_kind(frames.labels_NK[tune_N], frames.synthetic_N[tune_N])
    spec, uncalibrated = calibrate(spec, labels_NK, tuned.scores_BK)
    return Fitted(detector, spec, outcome, uncalibrated, device)


def fresh_detector(settings: LesionDetectorParams, label_count: int) -> LesionDetector:
    """The network with weights drawn by the seed."""
    torch.manual_seed(settings.seed)
    mean, std = NORMALISATIONS[settings.normalisation]
    return build_detector(
        settings.backbone,
        settings.backbone_params,
        label_count,
        mean=mean,
        std=std,
        routing=settings.routing,
        pooling=settings.pooling,
        colour=settings.colour,
    )


def _task(
    frames: PreparedFrames, settings: LesionDetectorParams, detector: LesionDetector, device: torch.device
) -> LesionTask:
    train_N = frames.on("train")
    labels_NK, tune_N = frames.labels_NK.copy(), frames.on("tune")
    labels_NK[tune_N], _ = one_kind(labels_NK[tune_N], frames.synthetic_N[tune_N])
    return LesionTask(
        detector,
        frames.pixels_NHWC,
        labels_NK,
        train_N=train_N,
        tune_N=tune_N,
        coverage=frames.coverage,
        settings=TaskSettings(
            batch_size=settings.batch_size,
            steps_per_epoch=settings.steps_per_epoch or -(-len(train_N) // settings.batch_size),
            augmentation=settings.augmentation if settings.augment else NONE,
            map_weight=settings.map_weight,
            cell_weight=settings.cell_weight,
            sampling=settings.sampling,
            kinds_per_batch=settings.kinds_per_batch,
            triplet=settings.triplet,
        ),
        device=device,
    )

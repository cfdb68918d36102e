"""Recipe `lesion-detector`: from a dataset of frames to a calibrated, measured, multi-label detector.

Groups (patients, videos, blocks) are split into train, tune and test. Weights are learnt on train; the epoch,
the calibration and the thresholds are chosen on tune; what is reported is measured on test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from models.artifacts import (
    Builder,
    InputContract,
    ModelSpec,
    Trained,
    build_module,
    load_weights,
    save_weights,
)
from models.backbones.build import BACKBONES
from models.devices import Precision, pick_device
from models.events import Event, Progress
from models.imaging.augment import NONE, Augmentation
from models.imaging.datasets import FramesDataset, read_report
from models.imaging.decoded import Stopped, decode_frames
from models.imaging.detector import DEFAULT_MEAN, DEFAULT_STD, LesionDetector, Routing, build_detector
from models.imaging.evaluation import colour_baseline, measure, measure_pointing
from models.imaging.leak_audit import leaks_of_evaluation, leaks_of_training
from models.imaging.lesion_spec import NAME, calibrate, keep_measured_evidence, make_spec
from models.imaging.lesion_task import LesionTask, TaskSettings
from models.imaging.predictor import Predictor
from models.imaging.prepare import PreparedFrames, prepare
from models.imaging.preprocess import KERNEL
from models.imaging.triplet import TripletParams
from models.optimisation import OptimiserName, ScheduleName
from models.schema import JsonObject, SchemaError, bounded, decode, encode
from models.training import Interrupted, TrainingConfig, train


@dataclass(frozen=True)
class LesionDetectorParams:
    """Parameters of the recipe; the defaults suit a few thousand frames."""

    backbone: str = "resnet18"
    backbone_params: Mapping[str, Any] = field(default_factory=dict)
    size_px: int = bounded(224, minimum=32, maximum=1024)
    epochs: int = bounded(20, minimum=1, maximum=10_000)
    batch_size: int = bounded(32, minimum=2, maximum=4096)
    steps_per_epoch: int | None = bounded(
        None, minimum=1, doc="default: as many as cover the training frames"
    )
    optimiser: OptimiserName = "adamw"
    learning_rate: float = bounded(1e-3, minimum=0, maximum=10)
    weight_decay: float = bounded(1e-2, minimum=0, maximum=1)
    schedule: ScheduleName = "one-cycle"
    map_weight: float = bounded(0.5, minimum=0, maximum=10, doc="localisation term, where lesions are drawn")
    triplet: TripletParams | None = None
    routing: Routing = "joint"
    average_decay: float | None = bounded(None, minimum=0, maximum=1, doc="moving average of the weights")
    patience_epochs: int | None = bounded(None, minimum=1, doc="early stop")
    max_seconds: float | None = bounded(None, minimum=0, doc="time budget of the training loop")
    augment: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    tune_fraction: float = bounded(0.2, minimum=0.05, maximum=0.45)
    test_fraction: float = bounded(0.2, minimum=0.05, maximum=0.45)
    seed: int = bounded(0, minimum=0, maximum=2**32 - 1)
    precision: Precision = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every_s: float = bounded(60.0, minimum=0)
    licence: str = "not stated"

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise SchemaError("/backbone", f"must be one of {', '.join(BACKBONES)}")
        backbone = BACKBONES[self.backbone]
        decode(backbone.params, self.backbone_params, "/backbone_params")
        least_px = backbone.smallest_input_px
        if self.size_px < least_px:
            raise SchemaError("/size_px", f"must be at least {least_px} for {self.backbone}")


def run(
    dataset_dir: Path,
    params: Mapping[str, Any],
    work_dir: Path,
    *,
    resume_from: Path | None = None,
    report: Callable[[Event], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trained | Interrupted:
    """Train, calibrate and measure a detector.

    Args:
        dataset_dir: what `models.imaging.ingest` wrote.
        params: see `LesionDetectorParams`.
        work_dir: private folder for decoded frames, checkpoints and the weights.
        resume_from: a checkpoint folder of the same run.
        report: receives progress, metric and checkpoint events.
        should_stop: polled between chunks of frames and between steps.

    Returns:
        The model version, or `Interrupted` with what to resume from.

    Raises:
        SchemaError: a parameter is wrong; its pointer is relative to `params`.
        TrainingRefused: the dataset has too few groups, or no label that could be learnt.
        TrainingFailed, CheckpointDamaged: see `models.training.train`.
    """
    settings = decode(LesionDetectorParams, params)
    evidence_is_synthetic = read_report(dataset_dir).get("format") == "synthetic"
    with FramesDataset(dataset_dir) as dataset:
        try:
            frames = prepare(
                dataset,
                size_px=settings.size_px,
                fractions=_fractions(settings),
                seed=settings.seed,
                work_dir=work_dir,
                report=report,
                should_stop=should_stop,
            )
        except Stopped:
            return Interrupted(resume_from, 0)
        device = pick_device(settings.device)
        detector = _fresh_detector(settings, len(frames.label_names))
        outcome = train(
            _task(frames, settings, detector, device),
            _training_config(settings),
            work_dir,
            device=device,
            resume_from=resume_from,
            report=report,
            should_stop=should_stop,
        )
        if isinstance(outcome, Interrupted):
            return outcome
        report(Progress(0, 1, "models", "measuring"))
        spec = make_spec(
            builder=_builder(settings),
            contract=InputContract(settings.size_px, 3, KERNEL, mean=DEFAULT_MEAN, std=DEFAULT_STD),
            label_names=frames.label_names,
            evidence="synthetic" if evidence_is_synthetic else "real",
            dataset_fingerprint=dataset.fingerprint(),
            licence=settings.licence,
            seed=settings.seed,
            dtype=outcome.dtype,
        )
        tune_N = frames.on("tune")
        tuned = Predictor(detector, spec, device=device).predict(frames.pixels_NHWC, rows_B=tune_N)
        spec, uncalibrated = calibrate(spec, frames.labels_NK[tune_N], tuned.scores_BK)
        predictor = Predictor(detector, spec, device=device)
        metrics = _measure_test(dataset, frames, predictor)
        metrics["leaks"] = leaks_of_training(dataset, frames, predictor, report=report)
    weights_path = work_dir / "weights.safetensors"
    sha256 = save_weights(detector, weights_path)
    account = {"params": encode(settings), "training": encode(outcome), "uncalibrated": uncalibrated}
    report(Progress(1, 1, "models", "measuring"))
    return Trained(
        keep_measured_evidence(spec, metrics), weights_path, sha256, metrics, frames.notes | account
    )


def evaluate(
    weights: Path,
    sha256: str,
    spec: ModelSpec,
    dataset_dir: Path,
    work_dir: Path,
    *,
    device: torch.device | None = None,
    training_index: Path | None = None,
    report: Callable[[Event], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> JsonObject | None:
    """Measure a version on every frame of a dataset; nothing is fitted to it.

    Labels that the dataset does not have are not measured. `trained_on_it` says where the figures flatter,
    and `leaks` what the dataset shares with the one whose `index.parquet` is given, if any.

    Returns:
        As `models.imaging.evaluation.measure`; None if it was stopped.

    Raises:
        ArtifactRefused: see `models.artifacts`.
    """
    predictor = Predictor(
        build_module(spec, load_weights(weights, sha256)), spec, device=device or pick_device()
    )
    with FramesDataset(dataset_dir) as dataset:
        everything = np.arange(len(dataset))
        try:
            pixels_NHWC = decode_frames(
                dataset,
                everything,
                size_px=spec.input.size_px,
                path=work_dir / "frames.npy",
                report=report,
                should_stop=should_stop,
            )
        except Stopped:
            return None
        labels_NK = _labels_of(dataset, spec.label_names)
        metrics = _measure(dataset, predictor, pixels_NHWC, labels_NK, everything)
        leaks = leaks_of_evaluation(
            training_index, dataset, spec, pixels_NHWC=pixels_NHWC, labels_NK=labels_NK
        )
        fingerprint = dataset.fingerprint()
    return metrics | {
        "leaks": leaks,
        "dataset_fingerprint": fingerprint,
        "trained_on_it": fingerprint == spec.dataset_fingerprint,
        "colour_baseline": None,
    }


def _fractions(settings: LesionDetectorParams) -> dict[str, float]:
    rest = 1 - settings.tune_fraction - settings.test_fraction
    return {"train": rest, "tune": settings.tune_fraction, "test": settings.test_fraction}


def _builder(settings: LesionDetectorParams) -> Builder:
    return Builder(NAME, {"backbone": settings.backbone, "backbone_params": dict(settings.backbone_params)})


def _fresh_detector(settings: LesionDetectorParams, label_count: int) -> LesionDetector:
    torch.manual_seed(settings.seed)
    return build_detector(settings.backbone, settings.backbone_params, label_count, routing=settings.routing)


def _task(
    frames: PreparedFrames, settings: LesionDetectorParams, detector: LesionDetector, device: torch.device
) -> LesionTask:
    train_N = frames.on("train")
    return LesionTask(
        detector,
        frames.pixels_NHWC,
        frames.labels_NK,
        train_N=train_N,
        tune_N=frames.on("tune"),
        coverage=frames.coverage,
        settings=TaskSettings(
            batch_size=settings.batch_size,
            steps_per_epoch=settings.steps_per_epoch or -(-len(train_N) // settings.batch_size),
            augmentation=settings.augmentation if settings.augment else NONE,
            map_weight=settings.map_weight,
            triplet=settings.triplet,
        ),
        device=device,
    )


def _training_config(settings: LesionDetectorParams) -> TrainingConfig:
    return TrainingConfig(
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        optimiser=settings.optimiser,
        weight_decay=settings.weight_decay,
        schedule=settings.schedule,
        precision=settings.precision,
        average_decay=settings.average_decay,
        patience_epochs=settings.patience_epochs,
        max_seconds=settings.max_seconds,
        seed=settings.seed,
        checkpoint_every_s=settings.checkpoint_every_s,
    )


def _measure_test(dataset: FramesDataset, frames: PreparedFrames, predictor: Predictor) -> JsonObject:
    test_N = frames.on("test")
    metrics = _measure(dataset, predictor, frames.pixels_NHWC, frames.labels_NK, test_N)
    baseline = colour_baseline(
        frames.pixels_NHWC,
        frames.labels_NK,
        frames.groups_N,
        train_N=frames.on("train"),
        test_N=test_N,
        label_names=frames.label_names,
        seed=predictor.spec.seed,
    )
    return metrics | {"colour_baseline": baseline}


def _measure(
    dataset: FramesDataset,
    predictor: Predictor,
    pixels_NHWC: npt.NDArray[np.uint8],
    labels_NK: npt.NDArray[np.int8],
    rows_M: npt.NDArray[np.int64],
) -> JsonObject:
    """Metrics and pointing game on some of the dataset's frames; row numbers are its ordinals."""
    spec, groups_N = predictor.spec, dataset.groups()
    predictions = predictor.predict(pixels_NHWC, rows_B=rows_M)
    metrics = measure(
        predictions,
        labels_NK[rows_M],
        groups_N[rows_M],
        operating_points=spec.operating_points,
        seed=spec.seed,
    )
    pointing = measure_pointing(predictions, labels_NK[rows_M], dataset, rows_M, size_px=spec.input.size_px)
    for name, entry in metrics["labels"].items():
        entry["pointing"] = pointing[name]
        if pointing[name] is None:
            entry["not_measured"].append("pointing")
    return metrics


def _labels_of(dataset: FramesDataset, label_names: tuple[str, ...]) -> npt.NDArray[np.int8]:
    names, labels_NK = dataset.labels()
    unknown_N = np.full(len(dataset), -1, np.int8)
    columns = [labels_NK[:, names.index(name)] if name in names else unknown_N for name in label_names]
    return np.stack(columns, axis=1)

"""Recipe `image-classifier`: from a dataset of frames to a calibrated, measured network of exclusive classes.

Groups (patients, videos, blocks) are split into train, tune and test. Weights are learnt on train; the epoch
and the temperature are chosen on tune; what is reported is measured on test.
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
    Evidence,
    InputContract,
    ModelSpec,
    Trained,
    build_module,
    load_weights,
    save_weights,
)
from models.backbones.build import BACKBONES
from models.backbones.dropout import NoDropout, set_dropout
from models.devices import Precision, pick_device
from models.events import Event, Progress
from models.imaging import classifier_spec
from models.imaging.augment import NONE, Augmentation
from models.imaging.classes import one_hot
from models.imaging.classifier import ImageClassifier, build_image_classifier
from models.imaging.classifier_evaluation import measure_classes
from models.imaging.classifier_frames import DividedFrames, Side, divide, read_classes
from models.imaging.classifier_task import ClassifierSettings, ClassifierTask
from models.imaging.crops import RandomCrop, TestTime
from models.imaging.decoded import Stopped, decode_frames
from models.imaging.evaluation import colour_baseline
from models.imaging.leak_audit import leaks_of_classes, leaks_of_judged_classes
from models.imaging.lesion_spec import with_evidence
from models.imaging.mixture import Frames, open_frames
from models.imaging.pca_jitter import colour_axes
from models.imaging.predictor import Predictor
from models.imaging.prepare import TrainingRefused
from models.imaging.preprocess import KERNEL
from models.imaging.transfer_options import NORMALISATIONS, TransferOptions, WeightsFile
from models.optimisation import OptimiserName, ScheduleName
from models.schema import JsonObject, SchemaError, bounded, decode, encode
from models.training import Completed, Interrupted, TrainingConfig, train

Pixels = npt.NDArray[np.uint8]
Decode = Callable[[npt.NDArray[np.int64], int, str], Pixels]  # ordinals, side, name of the file


@dataclass(frozen=True)
class ImageClassifierParams(TransferOptions):
    """Parameters of the recipe; the defaults suit a few thousand frames."""

    backbone: str = "resnet18"
    backbone_params: Mapping[str, Any] = field(default_factory=dict)
    none_class: str | None = bounded(
        None, doc="name of a class for frames that are known to show no label; without it they are left out"
    )
    size_px: int = bounded(224, minimum=32, maximum=1024)
    crop: RandomCrop | None = None
    test_time: TestTime = "whole"
    epochs: int = bounded(20, minimum=1, maximum=10_000)
    batch_size: int = bounded(32, minimum=2, maximum=4096)
    balanced: bool = True
    steps_per_epoch: int | None = bounded(
        None, minimum=1, doc="default: as many as cover the training frames"
    )
    optimiser: OptimiserName = "sgd"
    learning_rate: float = bounded(0.01, minimum=0, maximum=10)
    weight_decay: float = bounded(1e-4, minimum=0, maximum=1)
    schedule: ScheduleName = "one-cycle"
    dropout: float | None = bounded(None, minimum=0, maximum=0.95, doc="where the network has it")
    augment: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    pca_jitter: float = bounded(0.0, minimum=0, maximum=1, doc="spread of the draws; 0.1 in the paper")
    average_decay: float | None = bounded(None, minimum=0, maximum=1, doc="moving average of the weights")
    patience_epochs: int | None = bounded(None, minimum=1, doc="early stop")
    max_seconds: float | None = bounded(None, minimum=0, doc="time budget of the training loop")
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
        options = decode(backbone.params, self.backbone_params, "/backbone_params")
        if options.in_channels != 3:
            raise SchemaError("/backbone_params/in_channels", "must be 3: frames are RGB")
        if self.test_time != "whole" and self.crop is None:
            raise SchemaError("/crop", f"is required where {self.test_time} answers")
        if self.crop is not None and self.size_px < self.crop.side_px:
            raise SchemaError("/size_px", "must hold a crop")
        seen_px = self.size_px if self.crop is None else self.crop.side_px
        if seen_px < backbone.smallest_input_px:
            pointer = "/size_px" if self.crop is None else "/crop/side_px"
            raise SchemaError(pointer, f"must be at least {backbone.smallest_input_px} for {self.backbone}")

    @property
    def training_px(self) -> int:
        """Side of the frames that are learnt from: a crop of an enlarged frame would hold no detail."""
        return self.size_px if self.crop is None else self.crop.largest_frame_px


def run(
    dataset_dir: Path,
    params: Mapping[str, Any],
    work_dir: Path,
    *,
    resume_from: Path | None = None,
    initial_weights: WeightsFile | None = None,
    report: Callable[[Event], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trained | Interrupted:
    """Train, calibrate and measure a classifier.

    Args:
        dataset_dir: what `models.imaging.ingest` wrote.
        params: see `ImageClassifierParams`.
        work_dir: private folder for decoded frames, checkpoints and the weights.
        resume_from: a checkpoint folder of the same run.
        initial_weights: the file that `params` name, where they name one.
        report: receives progress, metric and checkpoint events.
        should_stop: polled between chunks of frames and between steps.

    Returns:
        The model version, or `Interrupted` with what to resume from.

    Raises:
        SchemaError: a parameter is wrong; its pointer is relative to `params`.
        TrainingRefused: see `models.imaging.classifier_frames.divide`.
        ArtifactRefused: the weights to start from do not fit.
        TrainingFailed, CheckpointDamaged: see `models.training.train`.
    """
    settings = decode(ImageClassifierParams, params)
    device = pick_device(settings.device)
    with open_frames(dataset_dir) as dataset:
        frames = divide(
            dataset, none_class=settings.none_class, fractions=_fractions(settings), seed=settings.seed
        )
        seen, kind = (dataset.fingerprint(), dataset.contents()), _one_kind(dataset)
        module = _fresh(settings, len(frames.class_names))
        fresh = settings.prepare(module.network, initial_weights)
        try:
            pixels, train_side = _training_frames(
                frames,
                settings,
                lambda ordinals, size_px, name: decode_frames(
                    dataset,
                    ordinals,
                    size_px=size_px,
                    path=work_dir / name,
                    report=report,
                    should_stop=should_stop,
                ),
            )
        except Stopped:
            return Interrupted(resume_from, 0)
        leaks = leaks_of_classes(
            dataset,
            frames.ordinals_N,
            frames.sides_N,
            one_hot(frames.class_N, len(frames.class_names)),
            label_names=frames.class_names,
            seed=settings.seed,
        )
    outcome = train(
        _task(
            module,
            len(frames.class_names),
            settings,
            train_side=train_side,
            tune_side=frames.side("tune", pixels),
            device=device,
        ),
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
    spec = _spec(settings, frames, outcome, seen, evidence=kind)
    tune_N = frames.on("tune")
    tuned = Predictor(module, spec, device=device).predict(pixels, rows_B=tune_N)
    spec = classifier_spec.calibrate(spec, frames.class_N[tune_N], tuned.scores_BK)
    metrics = _measure_test(frames, pixels, Predictor(module, spec, device=device)) | {"leaks": leaks}
    weights_path = work_dir / "weights.safetensors"
    sha256 = save_weights(module, weights_path)
    account = {"params": encode(settings), "training": encode(outcome)}
    if initial_weights is not None:
        account["initial_weights"] = {"sha256": initial_weights.sha256, "fresh": list(fresh)}
    report(Progress(1, 1, "models", "measuring"))
    measured: dict[str, Evidence] = {
        name: kind if entry["auc"] else "none" for name, entry in metrics["labels"].items()
    }
    return Trained(with_evidence(spec, measured), weights_path, sha256, metrics, frames.notes | account)


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
    """Measure a version on the frames of a dataset that have one of its classes; nothing is fitted to it.

    Returns:
        As `models.imaging.classifier_evaluation.measure_classes`, and how many frames had none of the
        classes; None if it was stopped.

    Raises:
        ArtifactRefused: see `models.artifacts`.
        TrainingRefused: `no_learnable_label`, where no frame has one of the classes.
    """
    module = build_module(spec, load_weights(weights, sha256))
    predictor = Predictor(module, spec, device=device or pick_device())
    with open_frames(dataset_dir) as dataset:
        class_N = _own_classes(dataset, spec)
        ordinals = np.flatnonzero(class_N >= 0)
        if len(ordinals) == 0:
            raise TrainingRefused("no_learnable_label", "no frame of the dataset has a class of the model")
        try:
            pixels = decode_frames(
                dataset,
                ordinals,
                size_px=spec.input.size_px,
                path=work_dir / "frames.npy",
                report=report,
                should_stop=should_stop,
            )
        except Stopped:
            return None
        fingerprint, groups_N = dataset.fingerprint(), dataset.groups()[ordinals]
        trained_on_it = spec.learnt_from(fingerprint, dataset.contents())
        labels_NK = one_hot(class_N[ordinals], len(spec.labels))
        leaks = leaks_of_judged_classes(training_index, dataset, ordinals, labels_NK, spec)
    metrics = measure_classes(predictor.predict(pixels), class_N[ordinals], groups_N, spec=spec)
    return metrics | {
        "leaks": leaks,
        "without_class": len(class_N) - len(ordinals),
        "dataset_fingerprint": fingerprint,
        "trained_on_it": trained_on_it,
        "colour_baseline": None,
    }


def _one_kind(dataset: Frames) -> Literal["real", "synthetic"]:
    """Exclusive classes of drawn and real frames together would be told apart by their kind alone."""
    synthetic_N = dataset.drawn_by_code()
    if synthetic_N.any() and not synthetic_N.all():
        raise TrainingRefused("mixed_sources", "exclusive classes need frames of one kind: real or drawn")
    return "synthetic" if synthetic_N.all() else "real"


def _own_classes(dataset: Frames, spec: ModelSpec) -> npt.NDArray[np.int64]:
    """The version's class of each frame; -1 where it has none of them.

    A frame shows none of them only where the dataset could tell of each.
    """
    none_class = classifier_spec.none_class(spec)
    told, _ = dataset.labels()
    can_tell = {*told, none_class} >= set(spec.label_names)
    classes = read_classes(dataset, none_class=none_class if can_tell else None)
    numbers = [spec.label_names.index(name) if name in spec.label_names else -1 for name in classes.names]
    return np.array([*numbers, -1])[classes.class_N]  # a frame without a class finds the last


def _fractions(settings: ImageClassifierParams) -> dict[str, float]:
    rest = 1 - settings.tune_fraction - settings.test_fraction
    return {"train": rest, "tune": settings.tune_fraction, "test": settings.test_fraction}


def _builder(settings: ImageClassifierParams) -> Builder:
    options = {
        "backbone": settings.backbone,
        "backbone_params": dict(settings.backbone_params),
        "test_time": settings.test_time,
        "crop_px": None if settings.crop is None else settings.crop.side_px,
    }
    return Builder(classifier_spec.NAME, options)


def _fresh(settings: ImageClassifierParams, class_count: int) -> ImageClassifier:
    torch.manual_seed(settings.seed)
    mean, std = NORMALISATIONS[settings.normalisation]
    module = build_image_classifier(**_builder(settings).params, class_count=class_count, mean=mean, std=std)
    if settings.dropout is not None:
        try:
            set_dropout(module.network, settings.dropout)
        except NoDropout as error:
            raise SchemaError("/dropout", f"cannot be set: {settings.backbone} has none") from error
    return module


def _training_frames(
    frames: DividedFrames, settings: ImageClassifierParams, decoded: Decode
) -> tuple[Pixels, Side]:
    """Pixels of all frames at the version's size, and the training side at the size crops are cut from."""
    pixels = decoded(frames.ordinals_N, settings.size_px, "frames.npy")
    side = frames.side("train", pixels)
    if settings.training_px == settings.size_px:
        return pixels, side
    enlarged = decoded(frames.ordinals_N[side.rows_M], settings.training_px, "training.npy")
    return pixels, Side(enlarged, np.arange(len(enlarged)), side.class_M)


def _task(
    module: ImageClassifier,
    class_count: int,
    settings: ImageClassifierParams,
    *,
    train_side: Side,
    tune_side: Side,
    device: torch.device,
) -> ClassifierTask:
    frame_count = len(train_side.rows_M)
    jitters = settings.pca_jitter > 0
    return ClassifierTask(
        module,
        class_count,
        train_side=train_side,
        tune_side=tune_side,
        settings=ClassifierSettings(
            batch_size=settings.batch_size,
            steps_per_epoch=settings.steps_per_epoch or -(-frame_count // settings.batch_size),
            balanced=settings.balanced,
            crop=settings.crop,
            augmentation=settings.augmentation if settings.augment else NONE,
            colour_axes=colour_axes(train_side.frames_NHWC, train_side.rows_M) if jitters else None,
            pca_jitter=settings.pca_jitter,
        ),
        device=device,
    )


def _training_config(settings: ImageClassifierParams) -> TrainingConfig:
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
        **settings.loop_options(),
    )


def _spec(
    settings: ImageClassifierParams,
    frames: DividedFrames,
    outcome: Completed,
    seen: tuple[str, tuple[str, ...]],
    *,
    evidence: Literal["real", "synthetic"],
) -> ModelSpec:
    mean, std = NORMALISATIONS[settings.normalisation]
    return classifier_spec.make_spec(
        builder=_builder(settings),
        contract=InputContract(settings.size_px, 3, KERNEL, mean=mean, std=std),
        class_names=frames.class_names,
        none_class=settings.none_class,
        evidence=evidence,
        dataset_fingerprint=seen[0],
        contents=seen[1],
        licence=settings.licence,
        paper=BACKBONES[settings.backbone].paper,
        seed=settings.seed,
        dtype=outcome.dtype,
    )


def _measure_test(frames: DividedFrames, pixels: Pixels, predictor: Predictor) -> JsonObject:
    test_N = frames.on("test")
    metrics = measure_classes(
        predictor.predict(pixels, rows_B=test_N),
        frames.class_N[test_N],
        frames.groups_N[test_N],
        spec=predictor.spec,
    )
    baseline = colour_baseline(
        pixels,
        one_hot(frames.class_N, len(frames.class_names)),
        frames.groups_N,
        train_N=frames.on("train"),
        test_N=test_N,
        label_names=frames.class_names,
        seed=predictor.spec.seed,
    )
    return metrics | {"colour_baseline": baseline}

"""Recipe `lesion-detector`: from a dataset of frames to a calibrated, measured, multi-label detector.

Groups (patients, videos, blocks) are split into train, tune and test. Weights are learnt on train; the epoch,
the calibration and the thresholds are chosen on tune; what is reported is measured on test.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.artifacts import ModelSpec, Trained, build_module, load_weights, save_weights
from models.devices import pick_device
from models.events import Event, Progress
from models.imaging.decoded import Stopped, decode_frames
from models.imaging.evaluation import colour_baseline
from models.imaging.evidence import of_kind, one_kind
from models.imaging.leak_audit import leaks_of_evaluation, leaks_of_training
from models.imaging.lesion_measures import measure_detector
from models.imaging.lesion_params import LesionDetectorParams
from models.imaging.lesion_spec import with_evidence
from models.imaging.lesion_training import fit
from models.imaging.mixture import Frames, open_frames
from models.imaging.predictor import Predictor
from models.imaging.prepare import (
    PreparedFrames,
    decode,
    divide,
    drawn_lesions,
    prepared,
    read_table,
    split_table,
)
from models.imaging.transfer_options import WeightsFile
from models.schema import JsonObject, encode
from models.schema import decode as decode_json
from models.training import Interrupted


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
    """Train, calibrate and measure a detector.

    Args:
        dataset_dir: what `models.imaging.ingest` wrote, or a folder of several (`models.imaging.mixture`).
        params: see `LesionDetectorParams`.
        work_dir: private folder for decoded frames, checkpoints and the weights.
        resume_from: a checkpoint folder of the same run.
        initial_weights: the file that the parameter of that name means.
        report: receives progress, metric and checkpoint events.
        should_stop: polled between chunks of frames and between steps.

    Returns:
        The model version, or `Interrupted` with what to resume from.

    Raises:
        SchemaError: a parameter is wrong; its pointer is relative to `params`.
        TrainingRefused: the dataset has too few groups, or no label that could be learnt.
        TrainingFailed, CheckpointDamaged: see `models.training.train`.
    """
    settings = decode_json(LesionDetectorParams, params)
    with open_frames(dataset_dir) as dataset:
        table = read_table(dataset)
        sides_N = split_table(table, settings.split, fractions=settings.fractions, seed=settings.seed)
        division = divide(table, sides_N, seed=settings.seed)
        try:
            pixels_NHWC = decode(
                dataset, size_px=settings.size_px, work_dir=work_dir, report=report, should_stop=should_stop
            )
        except Stopped:
            return Interrupted(resume_from, 0)
        frames = prepared(division, pixels_NHWC, drawn_lesions(dataset, division))
        fitted = fit(
            frames,
            settings,
            work_dir,
            dataset=dataset,
            initial_weights=initial_weights,
            resume_from=resume_from,
            report=report,
            should_stop=should_stop,
        )
        if isinstance(fitted, Interrupted):
            return fitted
        report(Progress(0, 1, "models", "measuring"))
        metrics = measure_test(dataset, frames, fitted.predictor())
        metrics["leaks"] = leaks_of_training(dataset, frames, fitted.predictor(), report=report)
    weights_path = work_dir / "weights.safetensors"
    sha256 = save_weights(fitted.detector, weights_path)
    account = {
        "params": encode(settings),
        "training": encode(fitted.outcome),
        "uncalibrated": fitted.uncalibrated,
    }
    report(Progress(1, 1, "models", "measuring"))
    spec = with_evidence(fitted.spec, {name: entry["evidence"] for name, entry in metrics["labels"].items()})
    return Trained(spec, weights_path, sha256, metrics, frames.notes | account)


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
    with open_frames(dataset_dir) as dataset:
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
        metrics = measure_detector(dataset, predictor, pixels_NHWC, labels_NK, everything)
        leaks = leaks_of_evaluation(
            training_index, dataset, spec, pixels_NHWC=pixels_NHWC, labels_NK=labels_NK
        )
        fingerprint, contents = dataset.fingerprint(), dataset.contents()
    return metrics | {
        "leaks": leaks,
        "dataset_fingerprint": fingerprint,
        "trained_on_it": spec.learnt_from(fingerprint, contents),
        "colour_baseline": None,
    }


def measure_test(dataset: Frames, frames: PreparedFrames, predictor: Predictor) -> JsonObject:
    """What a fitted detector does on the test side, beside colour alone."""
    test_N = frames.on("test")
    metrics = measure_detector(dataset, predictor, frames.pixels_NHWC, frames.labels_NK, test_N)
    return metrics | {"colour_baseline": colour_alone(frames, seed=predictor.spec.seed)}


def colour_alone(frames: PreparedFrames, *, seed: int) -> JsonObject:
    """Colour histograms learn from the training side and are judged on the frames that judge the detector."""
    test_N = frames.on("test")
    _, kinds = one_kind(frames.labels_NK[test_N], frames.synthetic_N[test_N])
    drawn_K = np.array([kind == "synthetic" for kind in kinds])
    return colour_baseline(
        frames.pixels_NHWC,
        of_kind(frames.labels_NK, frames.synthetic_N, drawn_K),
        frames.groups_N,
        train_N=frames.on("train"),
        test_N=test_N,
        label_names=frames.label_names,
        seed=seed,
    )


def _labels_of(dataset: Frames, label_names: tuple[str, ...]) -> npt.NDArray[np.int8]:
    names, labels_NK = dataset.labels()
    unknown_N = np.full(len(dataset), -1, np.int8)
    columns = [labels_NK[:, names.index(name)] if name in names else unknown_N for name in label_names]
    return np.stack(columns, axis=1)

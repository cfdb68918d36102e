"""The leak check of a detector: of the split it was trained by, and against a data set it is measured on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.artifacts import ModelSpec
from models.events import Event, Progress
from models.imaging.datasets import DatasetDamaged
from models.imaging.leak_sides import Side, side_of, side_of_index
from models.imaging.leaks import check_leaks, unchecked
from models.imaging.mixture import Frames
from models.imaging.predictor import Predictor
from models.imaging.prepare import PreparedFrames
from models.schema import JsonObject

# Of each side; a training on more frames than this has spent far longer on them than this check will.
_EMBEDDED_FRAMES = 5000
_CHUNK = 256


def leaks_of_training(
    dataset: Frames, frames: PreparedFrames, predictor: Predictor, *, report: Callable[[Event], None]
) -> JsonObject:
    """What the test side shares with the train and tune sides; see `models.imaging.leaks.check_leaks`."""
    test_N, seen_N = frames.on("test"), np.flatnonzero(frames.sides_N != "test")
    embeddings = (_embeddings(predictor, frames.pixels_NHWC, rows, report) for rows in (seen_N, test_N))
    training, judged = (
        side_of(
            dataset,
            rows,
            pixels_NHWC=frames.pixels_NHWC,
            labels_NK=frames.labels_NK,
            embeddings_ND=embedding_ND,
        )
        for rows, embedding_ND in zip((seen_N, test_N), embeddings, strict=True)
    )
    return check_leaks(training, judged, label_names=frames.label_names, seed=predictor.spec.seed)


def leaks_of_evaluation(
    training_index: Path | None,
    dataset: Frames,
    spec: ModelSpec,
    *,
    pixels_NHWC: npt.NDArray[np.uint8],
    labels_NK: npt.NDArray[np.int8],
) -> JsonObject:
    """What a data set shares with the one that a version was made from, its test side included.

    Args:
        training_index: `index.parquet` of that one; None where it is not at hand.
        dataset: what the version is measured on.
        spec: of the version.
        pixels_NHWC: every frame in its square.
        labels_NK: of every frame, for the labels of the spec.
    """
    if training_index is None:
        return unchecked("the data set that the version was made from is not at hand")
    try:
        training = side_of_index(training_index)
    except DatasetDamaged:
        return unchecked("the index of the data set that the version was made from is of an older form")
    judged = side_of(dataset, np.arange(len(dataset)), pixels_NHWC=pixels_NHWC, labels_NK=labels_NK)
    same = dataset.fingerprint() == spec.dataset_fingerprint
    return check_leaks(training, judged, label_names=spec.label_names, one_dataset=same, seed=spec.seed)


def leaks_of_classes(
    dataset: Frames,
    ordinals_N: npt.NDArray[np.int64],
    sides_N: npt.NDArray[np.str_],
    labels_NK: npt.NDArray[np.int8],
    *,
    label_names: Sequence[str],
    seed: int,
) -> JsonObject:
    """As `leaks_of_training`, by hashes, groups and names alone.

    Args:
        dataset: where the frames are from.
        ordinals_N: of the frames that are used.
        sides_N: of the same frames.
        labels_NK: one-hot classes of the same frames.
        label_names: of the classes.
        seed: of the checks.
    """
    judged_N = sides_N == "test"
    training, judged = (
        _bare_side(dataset, ordinals_N[chosen], labels_NK[chosen]) for chosen in (~judged_N, judged_N)
    )
    return check_leaks(training, judged, label_names=label_names, seed=seed)


def leaks_of_judged_classes(
    training_index: Path | None,
    dataset: Frames,
    ordinals_N: npt.NDArray[np.int64],
    labels_NK: npt.NDArray[np.int8],
    spec: ModelSpec,
) -> JsonObject:
    """As `leaks_of_evaluation`, of some frames, by hashes, groups and names alone."""
    if training_index is None:
        return unchecked("the data set that the version was made from is not at hand")
    try:
        training = side_of_index(training_index)
    except DatasetDamaged:
        return unchecked("the index of the data set that the version was made from is of an older form")
    same = dataset.fingerprint() == spec.dataset_fingerprint
    judged = _bare_side(dataset, ordinals_N, labels_NK)
    return check_leaks(training, judged, label_names=spec.label_names, one_dataset=same, seed=spec.seed)


def _bare_side(dataset: Frames, ordinals_M: npt.NDArray[np.int64], labels_MK: npt.NDArray[np.int8]) -> Side:
    return Side(
        groups_N=dataset.groups()[ordinals_M],
        names_N=dataset.names()[ordinals_M],
        hashes_N=dataset.hashes()[ordinals_M],
        looks_N=dataset.looks()[ordinals_M],
        labels_NK=labels_MK,
    )


def _embeddings(
    predictor: Predictor,
    pixels_NHWC: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    report: Callable[[Event], None],
) -> npt.NDArray[np.float32] | None:
    if len(rows) > _EMBEDDED_FRAMES:
        return None
    parts = []
    for start in range(0, len(rows), _CHUNK):
        parts.append(predictor.predict(pixels_NHWC, rows_B=rows[start : start + _CHUNK]).embedding_BD)
        report(Progress(min(start + _CHUNK, len(rows)), len(rows), "frames", "measuring"))
    return np.concatenate(parts)

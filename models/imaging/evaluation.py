"""What is measured of a detector on frames it has not seen, as JSON; what could not be measured says so."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.curves import curves
from models.decisions import decision_metrics, mean_decision_metrics
from models.imaging.calibration import decide
from models.imaging.colour_baseline import ColourBaseline, colour_histogram
from models.imaging.predictor import Predictions
from models.metrics import brier_score, expected_calibration_error, ranking_metrics
from models.schema import JsonObject, encode

# The forest is there for comparison: more frames than this change its answer little and cost minutes.
_BASELINE_FRAMES = 2000


def measure(
    predictions: Predictions,
    labels_NK: npt.NDArray[np.int8],
    groups_N: npt.NDArray[np.str_],
    *,
    operating_points: Mapping[str, Mapping[str, float]],
    seed: int,
) -> JsonObject:
    """Metrics of every label with 95 % intervals over groups.

    Args:
        predictions: of the N frames.
        labels_NK: 1, 0 or -1 for unknown, columns as the predictions'.
        groups_N: patient, video or block of each frame.
        operating_points: thresholds per name and label.
        seed: of the bootstrap.

    Returns:
        `{"frames", "groups", "mean_auc", "operating_points": {point: {...}}, "labels": {name: {...}}}`; the
        operating points have the means over labels. A metric that is not defined is null, and named in the
        label's `not_measured` if it is the label's own. Each label's `curves` are those of `models.curves`.
    """
    by_label = {
        name: _measure_label(
            labels_NK[:, column],
            predictions.scores_BK[:, column],
            predictions.probabilities_BK[:, column],
            groups_N,
            thresholds={point: limits[name] for point, limits in operating_points.items()},
            seed=seed,
        )
        for column, name in enumerate(predictions.labels)
    }
    areas = [entry["auc"]["value"] for entry in by_label.values() if entry["auc"] is not None]
    return {
        "frames": len(labels_NK),
        "groups": len(np.unique(groups_N)),
        "mean_auc": float(np.mean(areas)) if areas else None,
        "operating_points": {
            point: _measure_point(predictions, labels_NK, groups_N, limits, seed=seed)
            for point, limits in operating_points.items()
        },
        "labels": by_label,
    }


def colour_baseline(
    frames_NHWC: npt.NDArray[np.uint8],
    labels_NK: npt.NDArray[np.int8],
    groups_N: npt.NDArray[np.str_],
    *,
    train_N: npt.NDArray[np.int64],
    test_N: npt.NDArray[np.int64],
    label_names: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """AUC, with interval, of a forest on colour histograms of the same frames: colour without shape."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(train_N)[:_BASELINE_FRAMES]
    fit_on = np.array([colour_histogram(frames_NHWC[number]) for number in chosen])
    judged_on = np.array([colour_histogram(frames_NHWC[number]) for number in test_N])
    result: dict[str, Any] = {}
    for column, name in enumerate(label_names):
        labels = labels_NK[chosen, column]
        if not ((labels == 1).any() and (labels == 0).any()):
            result[name] = None
            continue
        forest = ColourBaseline(seed=seed).fit(fit_on, labels[:, None])
        scores = forest.predict_proba(judged_on)[:, 0]
        result[name] = encode(ranking_metrics(labels_NK[test_N, column], scores, groups_N[test_N])["auc"])
    return result


def _measure_point(
    predictions: Predictions,
    labels_NK: npt.NDArray[np.int8],
    groups_N: npt.NDArray[np.str_],
    limits: Mapping[str, float],
    *,
    seed: int,
) -> JsonObject:
    limits_K = np.array([limits[name] for name in predictions.labels])
    said_NK = decide(predictions.probabilities_BK, limits_K)
    found: JsonObject = encode(mean_decision_metrics(labels_NK, said_NK, groups_N, seed=seed))
    return found


def _measure_label(
    labels_N: npt.NDArray[np.int8],
    scores_N: npt.NDArray[np.float32],
    probabilities_N: npt.NDArray[np.float32],
    groups_N: npt.NDArray[np.str_],
    *,
    thresholds: Mapping[str, float],
    seed: int,
) -> JsonObject:
    known = int((labels_N >= 0).sum())
    positives = int((labels_N == 1).sum())
    measured: JsonObject = encode(ranking_metrics(labels_N, scores_N, groups_N, seed=seed))
    measured |= {
        "brier": brier_score(labels_N, probabilities_N),
        "calibration_error": expected_calibration_error(labels_N, probabilities_N),
    }
    not_measured = sorted(name for name, value in measured.items() if value is None)
    points = {
        point: {"threshold": limit}
        | encode(decision_metrics(labels_N, decide(probabilities_N, limit), groups_N, seed=seed))
        for point, limit in thresholds.items()
    }
    return measured | {
        "known": known,
        "positives": positives,
        "prevalence": positives / known if known else None,
        "operating_points": points,
        "curves": curves(labels_N, scores_N, probabilities_N),
        "not_measured": not_measured,
    }

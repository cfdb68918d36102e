"""What is measured of a classifier on frames it has not seen, as JSON.

Shape suffixes: N frames, K classes.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from models.artifacts import ModelSpec
from models.imaging.classes import one_hot
from models.imaging.evaluation import measure
from models.imaging.predictor import Predictions
from models.metrics import expected_calibration_error
from models.multiclass import confusion_matrix, multiclass_metrics
from models.schema import JsonObject, encode


def measure_classes(
    predictions: Predictions,
    class_N: npt.NDArray[np.int64],
    groups_N: npt.NDArray[np.str_],
    *,
    spec: ModelSpec,
) -> JsonObject:
    """Metrics of the classes together, then of each against all others, with 95 % intervals over groups.

    Args:
        predictions: of the N frames.
        class_N: the true class of each, 0..K-1.
        groups_N: patient, video or block of each frame.
        spec: of the version.

    Returns:
        As `models.imaging.evaluation.measure`, each class ranked by its probability, and `classes`: `metrics`
        by name, `confusion` with the true class in rows, and the calibration error of the answer.
    """
    probabilities_NK = predictions.probabilities_BK
    answer_N = probabilities_NK.argmax(axis=1)
    each = measure(
        # By probability and not by score: a score says nothing before it is set against the other classes'.
        replace(predictions, scores_BK=probabilities_NK),
        one_hot(class_N, len(spec.labels)),
        groups_N,
        operating_points=spec.operating_points,
        seed=spec.seed,
    )
    return each | {
        "classes": {
            "names": list(spec.label_names),
            "metrics": encode(multiclass_metrics(class_N, probabilities_NK, groups_N, seed=spec.seed)),
            "confusion": confusion_matrix(class_N, answer_N, len(spec.labels)).tolist(),
            "calibration_error": expected_calibration_error(
                (answer_N == class_N).astype(np.int8), probabilities_NK.max(axis=1)
            ),
        }
    }

"""The spec of an image classifier: what it says about itself, and its temperature, chosen on the tune side.

Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017).
Shape suffixes: N frames, K classes.
"""

import importlib.metadata
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from models.artifacts import Builder, Calibration, Evidence, InputContract, Label, ModelSpec
from models.devices import Dtype

NAME = "image-classifier"
# The answer is the likeliest class; at this threshold it is likelier than all others together.
MAJORITY = "majority"
_CODE_SCHEME = "99ENTERON"
_NONE_CODE = "NONE"
_INTENDED_USE = "Research on endoscopy frames. Not for diagnosis."
_LIMITATIONS = (
    "It knows its classes alone, and gives each frame to one of them. Measured on held-out groups of its own "
    "dataset only; other capsules, sites and patients may differ."
)
_LARGEST_LOG_SLOPE = 7.0


def make_spec(
    *,
    builder: Builder,
    contract: InputContract,
    class_names: tuple[str, ...],
    none_class: str | None,
    evidence: Evidence,
    dataset_fingerprint: str,
    contents: tuple[str, ...],
    licence: str,
    paper: str,
    seed: int,
    dtype: Dtype,
) -> ModelSpec:
    """Spec of a trained classifier, not calibrated yet."""
    return ModelSpec(
        name=NAME,
        task="image-multiclass",
        builder=builder,
        input=contract,
        labels=tuple(_label(name, name == none_class, evidence) for name in class_names),
        calibration={name: Calibration() for name in class_names},
        operating_points={MAJORITY: dict.fromkeys(class_names, 0.5)},
        default_operating_point=MAJORITY,
        intended_use=_INTENDED_USE,
        limitations=_LIMITATIONS,
        licence=licence,
        paper=paper,
        dataset_fingerprint=dataset_fingerprint,
        contents=contents,
        code_version=importlib.metadata.version("enteron"),
        seed=seed,
        dtype=dtype,
    )


def none_class(spec: ModelSpec) -> str | None:
    """The class of frames that show none of the others, if the version has one."""
    return next((label.name for label in spec.labels if label.code == _NONE_CODE), None)


def calibrate(
    spec: ModelSpec, class_N: npt.NDArray[np.int64], scores_NK: npt.NDArray[np.float32]
) -> ModelSpec:
    """Spec with one temperature for all classes, the reciprocal of their slope."""
    slope = fit_slope(class_N, scores_NK)
    return replace(spec, calibration={name: Calibration(slope) for name in spec.label_names})


def fit_slope(class_N: npt.NDArray[np.int64], scores_NK: npt.NDArray[np.float32]) -> float:
    """The slope (1 / temperature) with the greatest likelihood of the true classes.

    Targets are smoothed as Platt's are, (N + 1) / (N + K) for the true class and 1 / (N + K) for the others,
    so that scores without an error have a finite slope too.
    """
    count, classes = scores_NK.shape
    targets_NK = np.full(scores_NK.shape, 1 / (count + classes))
    targets_NK[np.arange(count), class_N] = (count + 1) / (count + classes)
    scores = scores_NK.astype(np.float64)

    def loss(log_slope: float) -> float:
        return -float((targets_NK * log_softmax(np.exp(log_slope) * scores, axis=1)).sum())

    bounds = (-_LARGEST_LOG_SLOPE, _LARGEST_LOG_SLOPE)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _label(name: str, is_none: bool, evidence: Evidence) -> Label:
    if is_none:
        return Label(name, _CODE_SCHEME, _NONE_CODE, "None of the other classes", evidence)
    return Label(name, _CODE_SCHEME, name.upper(), name, evidence)

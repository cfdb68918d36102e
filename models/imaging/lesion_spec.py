"""The spec of a lesion detector: what it says about itself, and the calibration chosen on the tune side."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from models.artifacts import Builder, Calibration, Evidence, InputContract, Label, ModelSpec
from models.devices import Dtype
from models.imaging.calibration import (
    DEFAULT_OPERATING_POINT,
    OPERATING_POINTS,
    calibrated,
    choose_thresholds,
    fit_calibration,
)

NAME = "lesion-detector"
# In words of the Minimal Standard Terminology (MST 3.0); "99" marks a private coding scheme, as in DICOM.
_CODE_SCHEME = "99ENTERON"
_MEANINGS = {
    "polyp": "Polyp",
    "bleeding": "Blood, fresh or clotted",
    "inflammatory": "Ulcer, erosion or erythema",
    "content": "Intestinal content: bubbles, bile, debris",
}
_UNSURE = 0.5  # threshold of a label for which the tune side gave no better one
_INTENDED_USE = "Research on capsule endoscopy frames. Not for diagnosis."
_LIMITATIONS = (
    "Measured on held-out groups of its own dataset only; other capsules, sites and patients may differ. "
    "Angioectasia and other findings that are not among its labels are not looked for."
)


def make_spec(
    *,
    builder: Builder,
    contract: InputContract,
    label_names: tuple[str, ...],
    dataset_fingerprint: str,
    contents: tuple[str, ...],
    licence: str,
    seed: int,
    dtype: Dtype,
) -> ModelSpec:
    """Spec of a trained detector, not calibrated yet and without evidence."""
    return ModelSpec(
        name=NAME,
        task="image-multilabel",
        builder=builder,
        input=contract,
        labels=tuple(
            Label(name, _CODE_SCHEME, name.upper(), _MEANINGS.get(name, name), "none") for name in label_names
        ),
        calibration={name: Calibration() for name in label_names},
        operating_points={point: dict.fromkeys(label_names, _UNSURE) for point in OPERATING_POINTS},
        default_operating_point=DEFAULT_OPERATING_POINT,
        intended_use=_INTENDED_USE,
        limitations=_LIMITATIONS,
        licence=licence,
        paper="Laiz et al. 2020, arXiv 1912.04643 (cross-entropy baseline)",
        dataset_fingerprint=dataset_fingerprint,
        contents=contents,
        code_version=importlib.metadata.version("enteron"),
        seed=seed,
        dtype=dtype,
    )


def calibrate(
    spec: ModelSpec, labels_NK: npt.NDArray[np.int8], scores_NK: npt.NDArray[np.float32]
) -> tuple[ModelSpec, list[str]]:
    """Spec with calibration and thresholds fitted on tune frames.

    Args:
        spec: of the K labels.
        labels_NK: tune labels, 1, 0 or -1 for unknown.
        scores_NK: raw scores of the same frames.

    Returns:
        The new spec, and the labels that could not be calibrated (identity, thresholds at 0.5).
    """
    calibration: dict[str, Calibration] = {}
    points: dict[str, dict[str, float]] = {point: {} for point in OPERATING_POINTS}
    unfitted = []
    for column, name in enumerate(spec.label_names):
        labels, scores = labels_NK[:, column], scores_NK[:, column]
        fitted = fit_calibration(labels, scores)
        if fitted is None:
            unfitted.append(name)
        calibration[name] = fitted or Calibration()
        probabilities = calibrated(scores, calibration[name])
        chosen = None if fitted is None else choose_thresholds(labels, probabilities)
        for point, thresholds in points.items():
            thresholds[name] = _UNSURE if chosen is None else chosen[point]
    return replace(spec, calibration=calibration, operating_points=points), unfitted


def with_evidence(spec: ModelSpec, evidence: Mapping[str, Evidence]) -> ModelSpec:
    """Spec that says of every label on which kind of frames it was measured."""
    return replace(spec, labels=tuple(replace(label, evidence=evidence[label.name]) for label in spec.labels))

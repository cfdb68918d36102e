"""What colour alone can tell: a forest on colour histograms, printed beside every detector."""

from collections.abc import Sequence
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.ensemble import RandomForestClassifier

_BINS: Final = 8
# Darker than this in every channel is the black surround of the round field, not tissue.
_SURROUND: Final = 16


def colour_histogram(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe a frame by its joint RGB and joint HSV histograms, 8 bins per channel.

    Args:
        rgb: uint8 [H, W, 3].

    Returns:
        float32 [1024]; each half sums to 1, or is all 0 for a black frame.
    """
    field = (rgb >= _SURROUND).any(axis=2)
    hsv = np.asarray(Image.fromarray(rgb).convert("HSV"))
    return np.concatenate([_joint_histogram(space[field]) for space in (rgb, hsv)])


def _joint_histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Histogram pixels [N, 3] into float32 [512]."""
    level = (pixels // (256 // _BINS)).astype(np.intp)
    cell = (level[:, 0] * _BINS + level[:, 1]) * _BINS + level[:, 2]
    counts = np.bincount(cell, minlength=_BINS**3).astype(np.float32)
    counts /= max(1, len(pixels))
    return counts


class ColourBaseline:
    """One random forest per label on colour histograms.

    Args:
        n_estimators: Trees per forest.
        seed: Seed of the forests.
    """

    def __init__(self, *, n_estimators: int = 300, seed: int = 0) -> None:
        self.n_estimators = n_estimators
        self.seed = seed

    def fit(self, histograms: NDArray[np.float32], labels: NDArray[np.int8]) -> Self:
        """Fit on the frames whose label is known.

        Args:
            histograms: float32 [N, D] from `colour_histogram`.
            labels: int8 [N, K], 0 or 1, and -1 for unknown.

        Returns:
            self.

        Raises:
            ValueError: If a label has no known positive or no known negative.
        """
        self.forests_ = [self._fit_one(histograms, column, k) for k, column in enumerate(labels.T)]
        return self

    def _fit_one(
        self, histograms: NDArray[np.float32], label: NDArray[np.int8], position: int
    ) -> RandomForestClassifier:
        known = label >= 0
        if len(np.unique(label[known])) != 2:
            raise ValueError(f"label {position} needs known positives and negatives")
        forest = RandomForestClassifier(
            self.n_estimators, min_samples_leaf=2, class_weight="balanced", random_state=self.seed
        )
        return forest.fit(histograms[known], label[known])

    def predict_proba(self, histograms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities, float32 [N, K], for histograms [N, D]."""
        columns: Sequence[NDArray[np.float64]] = [
            forest.predict_proba(histograms)[:, 1] for forest in self.forests_
        ]
        return np.stack(columns, axis=1).astype(np.float32)

"""Colour alone must not read the drawn frames (full size: benchmarks/synthetic_colour_baseline.py)."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models.imaging.colour_baseline import ColourBaseline, colour_histogram
from models.synthetic.frames import LABELS, draw_frames


def _sample(n: int, domain: str) -> tuple[np.ndarray, np.ndarray]:
    frames = list(draw_frames(n, seed=41, domain=domain, size=112))
    labels = [[frame.labels[label] for label in LABELS] for frame in frames]
    return np.stack([colour_histogram(frame.rgb) for frame in frames]), np.array(labels, dtype=np.int8)


@pytest.mark.slow
def test_a_colour_histogram_forest_finds_neither_polyps_nor_inflammation() -> None:
    histograms, labels = _sample(420, "test")
    forest = ColourBaseline(n_estimators=150).fit(*_sample(630, "train"))
    scores = forest.predict_proba(histograms)
    auc = {label: roc_auc_score(labels[:, k], scores[:, k]) for k, label in enumerate(LABELS)}
    assert auc["polyp"] <= 0.75
    assert auc["inflammatory"] <= 0.75
    # The forest works: blood and bile do have colours of their own.
    assert min(auc["bleeding"], auc["content"]) > 0.9

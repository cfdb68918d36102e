"""Whether colour knows a frame's neighbours: the same forest with and without the frames next to it.

Colour that tells a lesion tells it in any video; colour that tells a frame from its neighbours' answers fails
when they are taken away. Both forests judge the same frames and learn from equally many.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.imaging.colour_baseline import ColourBaseline
from models.metrics import auc

RUNS = 5
_TREES = 100
# Below this the colour of a label is not suspicious, and no further forest is grown.
SUSPICIOUS_AUC = 0.95
LEAST_FRAMES = 20


@dataclass(frozen=True)
class ColourSide:
    """Histograms float32 [N, D], labels 1, 0 or -1 of one label, and the run (see `runs`) of each frame."""

    histograms_ND: NDArray[np.float32]
    labels_N: NDArray[np.int8]
    runs_N: NDArray[np.int64]

    def known(self) -> "ColourSide":
        """The frames whose label is known."""
        rows = self.labels_N >= 0
        return ColourSide(self.histograms_ND[rows], self.labels_N[rows], self.runs_N[rows])


@dataclass(frozen=True)
class ColourAreas:
    """AUC of colour on the judged frames, and without neighbours where the first is suspicious."""

    auc: float
    auc_without_neighbours: float | None


def colour_areas(training: ColourSide, judged: ColourSide, *, seed: int) -> ColourAreas | None:
    """Judge frames by forests on colour histograms.

    Args:
        training: what the forests learn from; runs are counted over both sides.
        judged: what they are measured on.
        seed: of the draw of frames and the forests.

    Returns:
        None where a side, or the training side without one of the runs, has too few positives or negatives.
    """
    training, judged = training.known(), judged.known()
    away = {run: np.flatnonzero(training.runs_N != run) for run in np.unique(judged.runs_N).tolist()}
    counts = [np.bincount(training.labels_N[rows], minlength=2) for rows in away.values()]
    if not _enough(np.bincount(judged.labels_N, minlength=2), *counts):
        return None
    # As many of each answer for every forest: their scores are pooled, and must mean the same.
    quota_2 = np.min(counts, axis=0)

    def judged_by(rows: NDArray[np.int64], frames_M: NDArray[np.bool_]) -> NDArray[np.float32]:
        mixed = np.random.default_rng(seed).permutation(rows)
        drawn = np.concatenate(
            [mixed[training.labels_N[mixed] == answer][:most] for answer, most in enumerate(quota_2)]
        )
        forest = ColourBaseline(n_estimators=_TREES, seed=seed)
        forest.fit(training.histograms_ND[drawn], training.labels_N[drawn, None])
        return forest.predict_proba(judged.histograms_ND[frames_M])[:, 0]

    area = auc(
        judged.labels_N, judged_by(np.arange(len(training.runs_N)), np.ones(len(judged.runs_N), np.bool_))
    )
    if area is None or area < SUSPICIOUS_AUC:
        return None if area is None else ColourAreas(area, None)
    scores_M = np.zeros(len(judged.runs_N), np.float32)
    for run, rows in away.items():
        scores_M[judged.runs_N == run] = judged_by(rows, judged.runs_N == run)
    return ColourAreas(area, auc(judged.labels_N, scores_M))


def runs(keys: list[tuple[object, ...]], *, count: int = RUNS) -> NDArray[np.int64]:
    """Cut frames, sorted by key, into runs of about equal length; int64 [N], the run of each frame."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    run_N = np.empty(len(keys), np.int64)
    run_N[order] = np.arange(len(keys)) * count // max(1, len(keys))
    return run_N


def _enough(*counts_2: NDArray[np.int64]) -> bool:
    """Whether there are enough negatives and positives in each of the counts."""
    return all(int(count_2.min()) >= LEAST_FRAMES for count_2 in counts_2)

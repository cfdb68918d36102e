"""Batches in which every label's known positives and negatives come up equally often."""

import numpy as np
import numpy.typing as npt


def balanced_batches(
    labels_NK: npt.NDArray[np.int8], *, batch_size: int, count: int, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Plan an epoch: `count` batches of frame numbers.

    The cells (label, positive) and (label, negative) that hold frames take turns; each deals its frames from
    a shuffled pile and reshuffles when it is empty. The plan is a function of `rng`, so a run that resumes
    rebuilds it and skips what it has seen.

    Args:
        labels_NK: 1, 0 or -1 for unknown, int8 [N, K].
        batch_size: frames in a batch.
        count: batches.
        rng: source of the order.

    Returns:
        `count` int64 arrays [batch_size]; empty list if no label of any frame is known.
    """
    cells = [np.flatnonzero(column == value) for column in labels_NK.T for value in (1, 0)]
    cells = [cell for cell in cells if len(cell)]
    if not cells:
        return []
    total = batch_size * count
    per_cell = -(-total // len(cells))
    dealt = np.stack([_deal(cell, per_cell, rng) for cell in cells], axis=1).reshape(-1)[:total]
    return list(dealt.reshape(count, batch_size))


def _deal(cell: npt.NDArray[np.int64], count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    rounds = -(-count // len(cell))
    return np.concatenate([rng.permutation(cell) for _ in range(rounds)])[:count]

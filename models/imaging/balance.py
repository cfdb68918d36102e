"""Batches in which rare frames come up as often as common ones."""

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


def kinds_by_frames(
    labels_NK: npt.NDArray[np.int8], *, kinds: int, batch_size: int, count: int, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Plan an epoch of P x K batches (Hermans et al. 2017): some kinds of frames, and as many frames of each.

    A kind is what is known of a frame: two frames are of one kind if their labels are equal. Kinds take
    turns, so that a batch holds as many different ones as it can.

    Args:
        labels_NK: 1, 0 or -1 for unknown, int8 [N, K].
        kinds: P, at most; fewer where there are fewer.
        batch_size: P times frames of each kind; what does not divide is left off.
        count: batches.
        rng: source of the order.

    Returns:
        `count` int64 arrays; empty list if no label of any frame is known.
    """
    known = np.flatnonzero((labels_NK >= 0).any(axis=1))
    if not len(known):
        return []
    _, kind_M = np.unique(labels_NK[known], axis=0, return_inverse=True)
    cells = [known[kind_M.ravel() == kind] for kind in range(kind_M.max() + 1)]
    drawn = min(kinds, len(cells), batch_size)
    each = batch_size // drawn
    turns = _turns(len(cells), drawn, count, rng)
    piles = [iter(_deal(cell, each * int((turns == kind).sum()), rng)) for kind, cell in enumerate(cells)]
    return [
        np.array([next(piles[kind]) for kind in kinds_P for _ in range(each)], np.int64) for kinds_P in turns
    ]


def _turns(kinds: int, drawn: int, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """[count, drawn]: in each batch the kinds that had the fewest turns so far, each once."""
    had = np.zeros(kinds, np.int64)
    turns = np.empty((count, drawn), np.int64)
    for batch in range(count):
        order = rng.permutation(kinds)
        turns[batch] = order[np.argsort(had[order], kind="stable")[:drawn]]
        had[turns[batch]] += 1
    return turns


def _deal(cell: npt.NDArray[np.int64], count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    rounds = -(-count // len(cell))
    return np.concatenate([cell[:0], *(rng.permutation(cell) for _ in range(rounds))])[:count]

"""Frames of one side that look like frames of the other, against how often that happens by chance.

Shape suffixes: M judged frames, N training frames, V ways to turn a frame (the first is upright), D
embedding.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.imaging.perceptual import HASH_BITS, distances

# A difference hash within two bits is a near-duplicate; see docs/leaks.md for how often it is by chance.
RADIUS_BITS = 2
# With very many training frames chance alone fills the radius: it shrinks until chance explains so little.
_MOST_CHANCE = 0.02
_CELLS = 1 << 24  # distances held in memory at once
_REFERENCE_QUANTILE = 0.99


@dataclass(frozen=True)
class LookAlikes:
    """How many judged frames look like a training frame.

    Attributes:
        near_MV: bool, whether the frame, turned so, is within the radius of any training frame.
        radius_bits: of 64.
        chance: median share of the turns that are not upright. Turned copies are decoys: as complex as the
            frames themselves, and near a training frame only by chance, unless somebody has added copies
            turned in most ways.
    """

    near_MV: NDArray[np.bool_]
    radius_bits: int
    chance: float


def look_alikes(judged_MV: NDArray[np.int64], training_N: NDArray[np.int64]) -> LookAlikes:
    """Compare perceptual hashes; V >= 2, and of one-coloured frames (hash 0) there should be none."""
    nearest_MV = np.stack([_nearest(turn_M, training_N) for turn_M in judged_MV.T], axis=1)
    for radius in range(RADIUS_BITS, -1, -1):
        near_MV = nearest_MV <= radius
        chance = float(np.median(near_MV[:, 1:].mean(axis=0)))
        if chance <= _MOST_CHANCE:
            break
    return LookAlikes(near_MV, radius, chance)


def closer_than_groups(
    judged_MD: NDArray[np.float32],
    training_ND: NDArray[np.float32],
    training_groups_N: NDArray[np.str_],
) -> NDArray[np.bool_]:
    """Bool [M]: which judged frames have a training neighbour closer than training groups have in each other.

    Closeness is the cosine of the embeddings. The bar is the 99th percentile, over training frames, of the
    closeness to the nearest frame of another group: judged frames of new groups pass it about as rarely.
    """
    training_ND, judged_MD = _unit(training_ND), _unit(judged_MD)
    bar = np.quantile(
        _closest(training_ND, training_ND, training_groups_N, training_groups_N), _REFERENCE_QUANTILE
    )
    return np.asarray(_closest(judged_MD, training_ND) > bar)


def _nearest(some_M: NDArray[np.int64], training_N: NDArray[np.int64]) -> NDArray[np.uint8]:
    found_M = np.full(len(some_M), HASH_BITS + 1, np.uint8)
    rows = max(1, _CELLS // max(1, len(training_N)))
    for start in range(0, len(some_M), rows):
        part = slice(start, start + rows)
        found_M[part] = distances(some_M[part], training_N).min(axis=1, initial=HASH_BITS + 1)
    return found_M


def _closest(
    some_MD: NDArray[np.float32],
    training_ND: NDArray[np.float32],
    some_groups_M: NDArray[np.str_] | None = None,
    training_groups_N: NDArray[np.str_] | None = None,
) -> NDArray[np.float32]:
    """Greatest cosine with any training frame, of another group where groups are given; float32 [M]."""
    found_M = np.empty(len(some_MD), np.float32)
    rows = max(1, _CELLS // len(training_ND))
    for start in range(0, len(some_MD), rows):
        part = slice(start, start + rows)
        cosine_MN = some_MD[part] @ training_ND.T
        if some_groups_M is not None and training_groups_N is not None:
            cosine_MN[some_groups_M[part][:, None] == training_groups_N[None, :]] = -1
        found_M[part] = cosine_MN.max(axis=1)
    return found_M


def _unit(vectors_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return (vectors_ND / np.where(lengths_N1 > 0, lengths_N1, 1)).astype(np.float32)

"""Whether the name of a frame tells its label: folders, words and endings that only one answer has.

A detector never sees names; a person, a loader or a network that does would need no picture.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from models.metrics import auc

# A label with fewer known positives or negatives proves nothing.
LEAST_FRAMES = 20
_FIRST_PARTS, _LAST_PARTS, _FOLDERS = 4, 6, 3
_WORD = re.compile(r"[a-z]+|[0-9]+")


def name_auc(
    names_N: NDArray[np.str_], labels_N: NDArray[np.int8], groups_N: NDArray[np.str_], label_name: str
) -> float | None:
    """AUC of the best place in the names.

    At each place (the folders, the first and last words of the file's name) a frame is scored by the share of
    positives among the frames of other groups with the same word there; and once by whether the label's own
    name occurs. A name that tells no more than its group (patient, video) therefore tells nothing.

    Args:
        names_N: names with their folders, split by slashes of either kind.
        labels_N: 1, 0 or -1 for unknown.
        groups_N: group of each frame.
        label_name: of this label.

    Returns:
        0..1; None with fewer than 20 known positives or negatives.
    """
    known = labels_N >= 0
    labels_N, groups_N = labels_N[known], groups_N[known]
    if min((labels_N == 1).sum(), (labels_N == 0).sum()) < LEAST_FRAMES:
        return None
    plain = [name.lower().replace("\\", "/") for name in names_N[known].tolist()]
    own_name = _letters(label_name)
    occurs_N = np.array([bool(own_name) and own_name in _letters(name) for name in plain], float)
    places = zip(*(_places(name) for name in plain), strict=True)
    scores = [occurs_N, *(_share_elsewhere(place, labels_N, groups_N) for place in places)]
    return max(auc(labels_N, score_N) or 0.0 for score_N in scores)


def _places(name: str) -> list[str]:
    """The words at each place of a name, "" where it has none."""
    path = PurePosixPath(name)
    words = _WORD.findall(path.stem)
    folders = [part for part in path.parts[:-1] if part != "/"]
    return [
        *_exactly(words, _FIRST_PARTS),
        *_exactly(words[::-1], _LAST_PARTS),
        *_exactly(folders[::-1], _FOLDERS),
    ]


def _exactly(words: Sequence[str], count: int) -> list[str]:
    return [*words[:count], *[""] * (count - len(words))]


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _share_elsewhere(
    words: Sequence[str], labels_N: NDArray[np.int8], groups_N: NDArray[np.str_]
) -> NDArray[np.float64]:
    """Share of positives among the frames of other groups with the same word; of all where there is none."""
    _, word_N = np.unique(np.array(words), return_inverse=True)
    _, group_N = np.unique(groups_N, return_inverse=True)
    _, both_N = np.unique(word_N * (group_N.max() + 1) + group_N, return_inverse=True)
    positive_N = (labels_N == 1).astype(np.float64)
    frames_N = np.bincount(word_N)[word_N] - np.bincount(both_N)[both_N]
    positives_N = np.bincount(word_N, positive_N)[word_N] - np.bincount(both_N, positive_N)[both_N]
    share_N = np.full(len(labels_N), positive_N.mean())
    np.divide(positives_N, frames_N, out=share_N, where=frames_N > 0)
    return share_N

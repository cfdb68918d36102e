"""The leak check: whether what is judged was, in some form, already seen in training.

It runs with every evaluation. What was measured decides, never the name of a data set; the bars and where
they come from are in docs/leaks.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.imaging.colour_baseline import colour_histogram
from models.imaging.colour_leak import ColourSide, colour_areas, runs
from models.imaging.leak_sides import Side, in_order
from models.imaging.perceptual import turned_hashes, upside_down
from models.imaging.telling_names import name_auc
from models.imaging.twins import closer_than_groups, look_alikes
from models.schema import JsonObject, encode

Verdict = Literal["clean", "doubtful", "leak", "unknown"]
Grade = Literal["leak", "doubt", "note"]

# Shares of the judged frames. Of disjoint neighbouring blocks of one source up to 4 % were near-duplicates of
# training frames, of WCEBleedGen's published split 28 %.
_LEAK_SHARE, _DOUBT_SHARE, _LEAST_TWINS = 0.10, 0.06, 3
_OVER_CHANCE = 3.0
_IDENTICAL_LEAK_SHARE = 0.01
# One judged frame in a hundred passes the embedding's bar by construction; of disjoint blocks up to 4 % did,
# of the published split 28 %.
_EMBEDDING_DOUBT_SHARE = 0.10
# Colour on the published split: AUC 0.997, and 0.943 without neighbours. On disjoint blocks it either fell by
# 0.015 at most or was not good to begin with: 0.956, then 0.920.
_COLOUR_DROP, _COLOUR_ERRORS = 0.03, 3.0
_NAME_AUC = 0.99
_MOST_LOOKED_AT = 2000
_COLOUR_FRAMES = 1000  # more change a forest's answer little and cost seconds
# Without one of these nothing is known of the two sides.
_ESSENTIAL = frozenset({"groups", "identical_frames", "near_duplicates"})


@dataclass(frozen=True)
class LeakProblem:
    """One thing that is wrong: `count` of `of`, in the unit that `detail` names."""

    code: str
    grade: Grade
    count: int
    of: int
    detail: str
    label: str | None = None


@dataclass
class _Account:
    """What the checks have found so far."""

    problems: list[LeakProblem] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    not_checked: list[JsonObject] = field(default_factory=list)
    measured: JsonObject = field(default_factory=dict)

    def skip(self, check: str, why: str) -> None:
        self.not_checked.append({"check": check, "why": why})

    def skip_scarce(self, check: str, labels: Sequence[str]) -> None:
        if labels:
            self.skip(check, f"too few frames with, or without, {', '.join(labels)}")

    def verdict(self) -> Verdict:
        grades = {problem.grade for problem in self.problems}
        if "leak" in grades:
            return "leak"
        if not _ESSENTIAL & set(self.checked):
            return "unknown"
        return "doubtful" if "doubt" in grades else "clean"


def check_leaks(
    training: Side, judged: Side, *, label_names: Sequence[str] = (), one_dataset: bool = True, seed: int = 0
) -> JsonObject:
    """Look for what both sides share.

    Args:
        training: everything that the model, its epoch and its thresholds were chosen on.
        judged: what it is measured on.
        label_names: the K names of the labels.
        one_dataset: whether both sides name their groups alike. Groups of one name in two data sets need not
            be one patient.
        seed: of the frames that are drawn where there are very many, and of the forests.

    Returns:
        `{"verdict", "problems", "checked", "not_checked", "measured"}`, JSON-able. The verdict is "leak",
        "doubtful", "clean", or "unknown" if neither groups nor frames could be compared. A problem of grade
        "note" is worth knowing and does not change the verdict.
    """
    account = _Account()
    _check_identical(account, training, judged)
    _check_groups(account, training, judged, one_dataset=one_dataset)
    _check_looks(account, training, judged, np.random.default_rng(seed))
    _check_embeddings(account, training, judged, np.random.default_rng(seed))
    _check_colour(account, training, judged, label_names, seed)
    _check_names(account, training, judged, label_names)
    return {
        "verdict": account.verdict(),
        "problems": encode(account.problems),
        "checked": account.checked,
        "not_checked": account.not_checked,
        "measured": account.measured,
    }


def unchecked(why: str) -> JsonObject:
    """The report where there is no training side to compare with."""
    account = _Account()
    account.skip("training_side", why)
    return {
        "verdict": account.verdict(),
        "problems": [],
        "checked": [],
        "not_checked": account.not_checked,
        "measured": {},
    }


def _check_identical(account: _Account, training: Side, judged: Side) -> None:
    if training.hashes_N is None or judged.hashes_N is None:
        return account.skip("identical_frames", "hashes of the frames are not at hand")
    account.checked.append("identical_frames")
    count = int(np.isin(judged.hashes_N, training.hashes_N).sum())
    if count:
        grade: Grade = "leak" if count >= _IDENTICAL_LEAK_SHARE * len(judged) else "doubt"
        detail = "judged frames are, byte for byte, training frames"
        account.problems.append(LeakProblem("identical_frames", grade, count, len(judged), detail))


def _check_groups(account: _Account, training: Side, judged: Side, *, one_dataset: bool) -> None:
    known = judged.groups_N[judged.groups_N != ""]
    groups, sizes = np.unique(known, return_counts=True)
    if not len(groups) or not (training.groups_N != "").any():
        return account.skip("groups", "the groups of a side are not known")
    account.checked.append("groups")
    if len(known) < len(judged):
        account.skip(
            "groups", f"{len(judged) - len(known)} of {len(judged)} judged frames have no known group"
        )
    if len(groups) == len(known) > 1:
        account.skip("groups", "every judged frame is its own group, so that groups say nothing")
    crossing = np.isin(groups, training.groups_N)
    if not crossing.any():
        return
    # A shared frame shows that the two name the same patients.
    same = one_dataset or any(problem.code == "identical_frames" for problem in account.problems)
    detail = f"judged groups are training groups too, with {int(sizes[crossing].sum())} judged frames"
    if not same:
        detail += "; the two data sets may have given one name to different patients"
    grade: Grade = "leak" if same else "doubt"
    count = int(crossing.sum())
    account.problems.append(LeakProblem("group_on_both_sides", grade, count, len(groups), detail))


def _check_looks(account: _Account, training: Side, judged: Side, rng: np.random.Generator) -> None:
    if training.looks_N is None or judged.looks_N is None:
        return account.skip("near_duplicates", "perceptual hashes of the frames are not at hand")
    blank = judged.looks_N == 0
    rows = _drawn(np.flatnonzero(~blank), rng)
    training_looks = training.looks_N[training.looks_N != 0]
    if not len(rows) or not len(training_looks):
        return account.skip("near_duplicates", "a side has nothing but frames of one colour")
    account.checked.append("near_duplicates")
    if blank.any():
        account.skip("near_duplicates", f"{int(blank.sum())} judged frames of one colour")
    looks = judged.looks_N[rows]
    if judged.frame is None:
        account.skip("near_duplicates", "turned and left-right mirrored copies: the pixels are not at hand")
        turned = np.stack([looks, upside_down(looks)], axis=1)
    else:
        turned = np.array([turned_hashes(judged.frame(row)) for row in rows.tolist()])
        turned[:, 0] = looks  # of the full frame, as the training side's are
    found = look_alikes(turned, training_looks)
    share_V = found.near_MV.mean(axis=0)
    # Above one half chance is no explanation: then frames are there in every turn.
    over_chance_V = share_V >= min(_OVER_CHANCE * found.chance, 0.5)
    upright, turned_most = float(share_V[0]), float(share_V[1:].max())
    account.measured["near_duplicates"] = {
        "frames": len(rows),
        "radius_bits": found.radius_bits,
        "share": upright,
        "share_in_another_turn": turned_most,
        "share_by_chance": found.chance,
    }
    count = int(found.near_MV[:, over_chance_V].any(axis=1).sum())
    worst = float(share_V[over_chance_V].max(initial=0.0))
    if count < _LEAST_TWINS or worst == 0:
        return
    grade: Grade = "leak" if worst >= _LEAK_SHARE else "doubt" if worst >= _DOUBT_SHARE else "note"
    detail = (
        f"judged frames look like a training frame: {found.radius_bits} of 64 bits of the perceptual hash or "
        f"fewer differ ({upright:.1%} upright, {turned_most:.1%} turned or mirrored, {found.chance:.1%} by "
        "chance)"
    )
    account.problems.append(LeakProblem("near_duplicates", grade, count, len(rows), detail))


def _check_embeddings(account: _Account, training: Side, judged: Side, rng: np.random.Generator) -> None:
    if training.embeddings_ND is None or judged.embeddings_ND is None:
        return account.skip("embeddings", "embeddings of both sides are not at hand")
    _, sizes = np.unique(training.groups_N, return_counts=True)
    if len(sizes) < 2 or sizes.max() < 2:
        return account.skip("embeddings", "the training side has no groups to compare with")
    account.checked.append("embeddings")
    rows = _drawn(np.arange(len(judged)), rng)
    near_M = closer_than_groups(judged.embeddings_ND[rows], training.embeddings_ND, training.groups_N)
    share = float(near_M.mean())
    account.measured["embeddings"] = {"frames": len(rows), "share": share, "share_expected": 0.01}
    if share >= _EMBEDDING_DOUBT_SHARE and near_M.sum() >= _LEAST_TWINS:
        detail = "judged frames are closer to a training frame, for the model, than training groups are to "
        detail += "each other; one in a hundred would be usual"
        problem = LeakProblem("close_embeddings", "doubt", int(near_M.sum()), len(rows), detail)
        account.problems.append(problem)


def _check_colour(
    account: _Account, training: Side, judged: Side, label_names: Sequence[str], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    if (
        training.frame is None
        or judged.frame is None
        or training.labels_NK is None
        or judged.labels_NK is None
    ):
        return account.skip("colour", "the pixels and labels of both sides are not at hand")
    learnt = _drawn(np.arange(len(training)), rng, most=_COLOUR_FRAMES)
    seen = _drawn(np.arange(len(judged)), rng, most=_COLOUR_FRAMES // 2)
    run = runs(in_order(training, judged))
    learnt_runs, seen_runs = run[: len(training)][learnt], run[len(training) :][seen]
    learnt_colours = np.array([colour_histogram(training.frame(row)) for row in learnt.tolist()])
    seen_colours = np.array([colour_histogram(judged.frame(row)) for row in seen.tolist()])
    scarce: list[str] = []
    for column, label in enumerate(label_names):
        areas = colour_areas(
            ColourSide(learnt_colours, training.labels_NK[learnt, column], learnt_runs),
            ColourSide(seen_colours, judged.labels_NK[seen, column], seen_runs),
            seed=seed,
        )
        if areas is None:
            scarce.append(label)
            continue
        account.measured.setdefault("colour", {})[label] = encode(areas)
        if "colour" not in account.checked:
            account.checked.append("colour")
        without = areas.auc_without_neighbours
        if without is not None and _rests_on_neighbours(areas.auc, without):
            known = int((judged.labels_NK[seen, column] >= 0).sum())
            detail = (
                f"judged frames: a forest on colours reaches AUC {areas.auc:.3f} on them, and {without:.3f} "
                "when it has not learnt from their neighbours"
            )
            account.problems.append(
                LeakProblem("colour_knows_neighbours", "doubt", known, known, detail, label)
            )
    account.skip_scarce("colour", scarce)


def _rests_on_neighbours(area: float, without: float) -> bool:
    return area - without >= _COLOUR_DROP and 1 - without >= _COLOUR_ERRORS * (1 - area)


def _check_names(account: _Account, training: Side, judged: Side, label_names: Sequence[str]) -> None:
    # Names tell what they tell on either side: the more of them, the surer.
    sides = [side for side in (judged, training) if side.names_N is not None and side.labels_NK is not None]
    if not sides:
        return account.skip("names", "names and labels of the frames are not at hand")
    names_N = np.concatenate([side.names_N for side in sides if side.names_N is not None])
    labels_NK = np.concatenate([side.labels_NK for side in sides if side.labels_NK is not None])
    groups_N = _own_where_unknown(np.concatenate([side.groups_N for side in sides]))
    scarce: list[str] = []
    for column, label in enumerate(label_names):
        area = name_auc(names_N, labels_NK[:, column], groups_N, label)
        if area is None:
            scarce.append(label)
            continue
        account.measured.setdefault("names", {})[label] = area
        if "names" not in account.checked:
            account.checked.append("names")
        if area >= _NAME_AUC:
            known = int((labels_NK[:, column] >= 0).sum())
            detail = "frames: their names alone tell the label; no detector here is shown names"
            account.problems.append(LeakProblem("label_in_names", "note", known, known, detail, label))
    account.skip_scarce("names", scarce)


def _drawn(
    rows: NDArray[np.int64], rng: np.random.Generator, *, most: int = _MOST_LOOKED_AT
) -> NDArray[np.int64]:
    return np.sort(rng.permutation(rows)[:most])


def _own_where_unknown(groups_N: NDArray[np.str_]) -> NDArray[np.str_]:
    unknown = [f"\0{row}" for row in range(len(groups_N))]
    return np.where(groups_N == "", unknown, groups_N)

"""Whether a version may take the champion's place: label by label, on figures that can be compared.

The best figures are evaluations of both versions on one data set that neither has learnt from: there, a
value below the champion's interval is worse. Without one, each version's own test figures must do. They were
measured on different frames, so only intervals that do not overlap count, and only between figures of one
kind: an AUC on drawn frames says nothing about one on real frames. Reasons: docs/decisions/0013.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from service.domain.errors import Conflict, FieldError
from service.domain.registry import EVIDENCE

Metrics = Mapping[str, Any]


class Verdict(StrEnum):
    NOT_WORSE = "not_worse"
    WORSE = "worse"  # beyond the interval
    MISSING = "missing"  # the challenger does not have the label: its findings would silently end
    NOT_MEASURED = "not_measured"  # the champion's figure would be replaced by none
    WEAKER_EVIDENCE = "weaker_evidence"  # real frames would give way to drawn ones
    NOT_COMPARABLE = "not_comparable"  # the champion's figure says nothing about the challenger


REFUSING = frozenset({Verdict.WORSE, Verdict.MISSING, Verdict.NOT_MEASURED, Verdict.WEAKER_EVIDENCE})


class Basis(StrEnum):
    """On what a label was compared."""

    SAME_DATA = "same_data"
    OWN_TEST = "own_test"


@dataclass(frozen=True)
class Area:
    """An AUC with its 95 % interval; without two groups there is none."""

    value: float
    low: float | None
    high: float | None

    @property
    def floor(self) -> float:
        """Without an interval nothing says that a difference is chance: the value itself is the bound."""
        return self.value if self.low is None else self.low

    @property
    def ceiling(self) -> float:
        return self.value if self.high is None else self.high

    def __str__(self) -> str:
        interval = "no interval" if self.low is None else f"{self.floor:.3f} to {self.ceiling:.3f}"
        return f"{self.value:.3f} ({interval})"


@dataclass(frozen=True)
class Standing:
    """What is known of a version: its labels with their evidence, and what was measured.

    `own` are the figures of its training; `evaluations` are later ones, newest first, each with the
    `dataset_fingerprint`, whether it was `trained_on_it`, and what the leak check said.
    """

    evidence: Mapping[str, str]
    own: Metrics
    evaluations: Sequence[Metrics]

    @property
    def own_test(self) -> Metrics:
        """Of an imported version, the newest evaluation stands for the training that nobody saw."""
        return self.own or next(iter(self._unseen().values()), {})

    def on_unseen(self, fingerprint: str) -> Metrics | None:
        return self._unseen().get(fingerprint)

    def _unseen(self) -> dict[str, Metrics]:
        """The newest evaluation on each data set that the version has not learnt from, newest first."""
        found: dict[str, Metrics] = {}
        for metrics in self.evaluations:
            fingerprint = metrics.get("dataset_fingerprint")
            if fingerprint and not (metrics.get("trained_on_it") or _leaks(metrics)):
                found.setdefault(fingerprint, metrics)
        return found

    def common_with(self, other: "Standing") -> list[str]:
        """Fingerprints of data sets on which both were measured and neither has learnt, newest first."""
        return [fingerprint for fingerprint in self._unseen() if other.on_unseen(fingerprint) is not None]


@dataclass(frozen=True)
class LabelComparison:
    """One label of the champion; `data` is the fingerprint of the data set that both were measured on."""

    label: str
    verdict: Verdict
    basis: Basis | None = None
    data: str | None = None
    champion: Area | None = None
    challenger: Area | None = None

    @property
    def refuses(self) -> bool:
        return self.verdict in REFUSING

    @property
    def sentence(self) -> str:
        match self.verdict:
            case Verdict.MISSING:
                return "the champion finds it, this version does not know it"
            case Verdict.NOT_MEASURED:
                return f"AUC not measured, against the champion's {self.champion} {self._where()}"
            case Verdict.WEAKER_EVIDENCE:
                return f"AUC {self.challenger} on weaker evidence than the champion's {self.champion}"
            case Verdict.NOT_COMPARABLE:
                return "nothing of the champion's can be compared with it"
        return f"AUC {self.challenger} against the champion's {self.champion} {self._where()}"

    def _where(self) -> str:
        if self.basis == Basis.SAME_DATA:
            return f"on the same data set {self.data}"
        return "on different frames: each version's own test"


@dataclass(frozen=True)
class Comparison:
    """A challenger beside a champion, by version number; labels in the champion's order."""

    champion: int
    challenger: int
    labels: tuple[LabelComparison, ...]

    @property
    def refuses(self) -> bool:
        return any(label.refuses for label in self.labels)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class WorseThanChampion(Conflict):
    code = "worse_than_champion"
    title = "The version is worse than the champion."

    def __init__(self, comparison: Comparison) -> None:
        refusing = [label for label in comparison.labels if label.refuses]
        names = ", ".join(label.label for label in refusing)
        super().__init__(
            f"Version {comparison.challenger} is worse than the champion, version {comparison.champion}, "
            f"or was not measured, on: {names}. Force it if you know better."
        )
        self.errors = tuple(FieldError("/version", f"{label.label}: {label.sentence}") for label in refusing)


def compare(champion: Standing, challenger: Standing) -> tuple[LabelComparison, ...]:
    """Every label that the champion finds; those that only the challenger knows can only be a gain."""
    return tuple(_compare_label(label, champion, challenger) for label in champion.evidence)


def _compare_label(label: str, champion: Standing, challenger: Standing) -> LabelComparison:
    if label not in challenger.evidence:
        return LabelComparison(label, Verdict.MISSING)
    for fingerprint in challenger.common_with(champion):
        area = _area(champion.on_unseen(fingerprint), label)
        if area is not None:
            theirs = _area(challenger.on_unseen(fingerprint), label)
            return _on_same_data(label, fingerprint, area, theirs)
    return _on_own_tests(label, champion, challenger)


def _on_same_data(label: str, fingerprint: str, champion: Area, challenger: Area | None) -> LabelComparison:
    if challenger is None:
        verdict = Verdict.NOT_MEASURED
    else:
        verdict = Verdict.WORSE if challenger.value < champion.floor else Verdict.NOT_WORSE
    return LabelComparison(label, verdict, Basis.SAME_DATA, fingerprint, champion, challenger)


def _on_own_tests(label: str, champion: Standing, challenger: Standing) -> LabelComparison:
    areas = _area(champion.own_test, label), _area(challenger.own_test, label)
    gain = EVIDENCE.index(challenger.evidence[label]) - EVIDENCE.index(champion.evidence[label])
    return LabelComparison(label, _verdict_on_own_tests(*areas, gain), Basis.OWN_TEST, None, *areas)


def _verdict_on_own_tests(champion: Area | None, challenger: Area | None, gain: int) -> Verdict:
    if champion is None:
        return Verdict.NOT_COMPARABLE
    if challenger is None:
        return Verdict.NOT_MEASURED
    if gain:
        return Verdict.NOT_COMPARABLE if gain > 0 else Verdict.WEAKER_EVIDENCE
    return Verdict.WORSE if challenger.ceiling < champion.floor else Verdict.NOT_WORSE


def _leaks(metrics: Metrics) -> bool:
    """Whether frames of the training were found among those measured: that flatters as learning from all."""
    return (metrics.get("leaks") or {}).get("verdict") == "leak"


def _area(metrics: Metrics | None, label: str) -> Area | None:
    measured = ((metrics or {}).get("labels") or {}).get(label) or {}
    found = measured.get("auc")
    return None if found is None else Area(found["value"], found["low"], found["high"])

"""How a comparison of trainings is shown: a line per arm and label, then the differences that matter."""

from collections.abc import Mapping
from typing import Any

from service.commands.terminal import Table, percent

_ARMS = ("triplet", "cross-entropy", "frozen")  # the database keeps no order of its own


def compared(comparison: Mapping[str, Any]) -> list[Table | str]:
    """Means, deviations and minima over folds; paired differences; what colour alone does."""
    return [_sentence(comparison), _arms(comparison), _differences(comparison), _folds(comparison)]


def _sentence(comparison: Mapping[str, Any]) -> str:
    how, folds = comparison["design"]["comparison"], comparison["folds"]
    frames = sum(fold["frames"] for fold in folds)
    return (
        f"{len(comparison['runs'])} trainings: {len(folds)} {how['order']} folds x {how['seeds']} seeds "
        f"x {len(comparison['summary'])} arms, {frames} frames judged, none by what learnt from its group"
    )


def _arms(comparison: Mapping[str, Any]) -> Table:
    rows = [
        (
            arm,
            label,
            _mean(measures["auc"]),
            _low(measures["auc"]),
            *(_mean(measures[f"sensitivity_at_{percent_}_specificity"]) for percent_ in (80, 90, 95)),
            _mean(measures["pointing"]),
            _mean(measures["overlap"]),
        )
        for arm in _arm_names(comparison)
        for label, measures in comparison["summary"][arm].items()
    ]
    columns = (
        "arm",
        "label",
        "AUC, SD over folds",
        "worst fold",
        "sens. at 80 %",
        "at 90 %",
        "at 95 % spec.",
        "pointing",
        "overlap",
    )
    return Table(columns, rows, right=frozenset(range(2, len(columns))))


def _differences(comparison: Mapping[str, Any]) -> Table:
    rows = [
        (name, label, _interval(found["auc"]), _interval(found["pointing"]), _verdict(found["auc"]))
        for name, labels in comparison["differences"].items()
        for label, found in labels.items()
    ]
    columns = ("difference", "label", "AUC, 95 % interval over folds", "pointing", "so")
    return Table(columns, rows)


def _folds(comparison: Mapping[str, Any]) -> Table:
    arms = _arm_names(comparison)
    rows = [
        (
            str(number + 1),
            label,
            f"{fold['positives'][label]} of {fold['frames']}",
            _number(fold["colour_auc"][label]),
            *(_number(_of_fold(comparison["summary"][arm][label]["auc"], number)) for arm in arms),
        )
        for number, fold in enumerate(comparison["folds"])
        for label in fold["positives"]
    ]
    columns = ("fold", "label", "positives", "colour alone", *arms)
    return Table(
        columns, rows, title="AUC per fold, mean over seeds", right=frozenset(range(2, 4 + len(arms)))
    )


def _arm_names(comparison: Mapping[str, Any]) -> list[str]:
    return sorted(comparison["summary"], key=_ARMS.index)


def _of_fold(spread: Mapping[str, Any] | None, number: int) -> float | None:
    return None if spread is None else spread["folds"][number]


def _mean(spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return percent(None)
    deviation = spread["deviation"]
    return _number(spread["mean"]) + ("" if deviation is None else f" ± {deviation:.3f}")


def _low(spread: Mapping[str, Any] | None) -> str:
    return percent(None) if spread is None else _number(spread["minimum"])


def _number(value: float | None) -> str:
    return percent(None) if value is None else f"{value:.3f}"


def _interval(difference: Mapping[str, Any] | None) -> str:
    if difference is None:
        return percent(None)
    if difference["low"] is None:
        return f"{difference['mean']:+.3f}"
    return f"{difference['mean']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})"


def _verdict(difference: Mapping[str, Any] | None) -> str:
    if difference is None or difference["low"] is None:
        return "cannot say"
    if difference["low"] > 0:
        return "gain"
    return "loss" if difference["high"] < 0 else "no gain shown"

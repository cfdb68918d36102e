"""What may be said of the measures in one sentence: of each label no more than its interval allows."""

from collections.abc import Mapping
from typing import Any

from models.imaging.report_words import counted, listed

Metrics = Mapping[str, Any]

_CHANCE = 0.5
_ORDER = ("beats_colour", "beats_chance", "as_colour", "as_chance", "no_interval", "not_measured")
_SAYS = {
    "beats_colour": "better than colour alone for {}",
    "beats_chance": "better than chance for {}",
    "as_colour": "not shown to be better than colour alone for {}",
    "as_chance": "not told from chance for {}",
    "no_interval": "too few groups for an interval for {}",
    "not_measured": "not measured for {}",
}


def judge(entry: Mapping[str, Any], colour: Mapping[str, Any] | None) -> str:
    """One word of `_ORDER` for a label: the lower end of its AUC's interval against chance and colour."""
    area = entry.get("auc")
    if area is None:
        return "not_measured"
    if area["low"] is None:
        return "no_interval"
    if area["low"] <= _CHANCE:
        return "as_chance"
    if colour is None:
        return "beats_chance"
    return "beats_colour" if area["low"] > colour["value"] else "as_colour"


def answer(metrics: Metrics, *, drawn: bool = False) -> str:
    """The report in one sentence; `drawn` says that the frames were drawn by code."""
    labels = metrics.get("labels") or {}
    if not labels:
        return "Nothing was measured of this version."
    colours = metrics.get("colour_baseline") or {}
    judged = {name: judge(entry, colours.get(name)) for name, entry in labels.items()}
    parts = [
        _SAYS[word].format(listed([name for name, own in judged.items() if own == word]))
        for word in _ORDER
        if word in judged.values()
    ]
    return f"{_where(metrics, drawn)}: {'; '.join(parts)}."


def _where(metrics: Metrics, drawn: bool) -> str:
    """On what it was measured, and whether that flatters."""
    frames = counted(metrics["frames"], "drawn frame" if drawn else "frame")
    groups = counted(metrics["groups"], "group")
    if metrics.get("cross_validated"):
        return (
            f"On {frames} of {groups}, measured of networks that had not learnt from them, while the weights "
            "of this version have"
        )
    if metrics.get("trained_on_it"):
        return f"On {frames} of {groups}, among them those it learnt from, which flatters"
    return f"On {frames} of {groups} that it had not learnt from"

"""How report and card say numbers: percent without false digits, intervals where there are, gaps as gaps."""

from collections.abc import Mapping
from typing import Any

RESEARCH_USE = "Research use. Not for diagnosis."
NOT_MEASURED = "not measured"
EVIDENCE = {
    "real": "measured on real frames",
    "synthetic": "synthetic frames only",
    "none": NOT_MEASURED,
}
# Names in the metrics that are for programs.
MEASURES = {
    "auc": "AUC",
    "mean_auc": "Mean AUC",
    "average_precision": "Average precision",
    "sensitivity_at_80_specificity": "sensitivity at 80 % specificity",
    "sensitivity_at_90_specificity": "sensitivity at 90 % specificity",
    "sensitivity_at_95_specificity": "sensitivity at 95 % specificity",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "pointing": "pointing game",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "positive_predictive_value": "positive predictive value",
    "negative_predictive_value": "negative predictive value",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "mcc": "MCC",
    "mean_balanced_accuracy": "mean balanced accuracy",
    "macro_f1": "macro F1",
    "mean_mcc": "mean MCC",
}
Estimate = Mapping[str, Any] | None


def measure_name(name: str) -> str:
    """A measure for people; one that is new here in the words of its name."""
    return MEASURES.get(name, name.replace("_", " "))


def percent(value: float | None) -> str | None:
    """A share as whole percent; only what is exactly none or all says 0 % or 100 %."""
    if value is None:
        return None
    if 0 < value < 0.005:
        return "< 1 %"
    if 0.995 <= value < 1:
        return "> 99 %"
    return f"{value * 100:.0f} %"


def two_digits(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def share(estimate: Estimate) -> str | None:
    """`87 % (80 to 92)`; without an interval the value alone."""
    if estimate is None:
        return None
    low, high = estimate.get("low"), estimate.get("high")
    if low is None or high is None:
        return f"{percent(estimate['value'])} (no interval)"
    return f"{percent(estimate['value'])} ({low * 100:.0f} to {high * 100:.0f})"


def area(estimate: Estimate) -> str | None:
    """`0.97 (0.93 to 0.99)`."""
    if estimate is None:
        return None
    low, high = estimate.get("low"), estimate.get("high")
    if low is None or high is None:
        # A measure that comes without ends never had an interval: nothing is missing.
        return f"{estimate['value']:.2f}" + (" (no interval)" if "low" in estimate else "")
    return f"{estimate['value']:.2f} ({low:.2f} to {high:.2f})"


def plain(value: Any) -> str | None:
    """A JSON scalar for people: no long decimals, truth as yes and no."""
    match value:
        case None:
            return None
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def listed(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"

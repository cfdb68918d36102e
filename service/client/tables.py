"""Answers of the service as pandas DataFrames, for notebooks. pandas is imported when the first is made."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from service.client.resources import Model

if TYPE_CHECKING:
    import pandas as pd

FINDING_COLUMNS = (
    "ordinal",
    "name",
    "label",
    "code",
    "probability",
    "positive",
    "threshold",
    "evidence",
    "peak_x",
    "peak_y",
    "error",
    "sha256",
    "model",
    "model_version",
    "weights_sha256",
)


def findings(frames: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    rows = [row for frame in frames for row in _finding_rows(frame)]
    return _frame(rows, FINDING_COLUMNS)


def _finding_rows(frame: Mapping[str, Any]) -> list[dict[str, Any]]:
    who = {"ordinal": frame["ordinal"], "name": frame["name"], **_source(frame)}
    if frame["error"]:
        return [{**who, "error": frame["error"]["code"]}]
    return [{**who, **finding, **_peak(finding)} for finding in frame["findings"]]


def _source(frame: Mapping[str, Any]) -> dict[str, Any]:
    """What names a finding for good: its input and the version that made it, by hash."""
    model = frame["model"]
    named = {"model": model["name"], "model_version": model["version"], "weights_sha256": model["sha256"]}
    return {"sha256": frame["sha256"], **named}


def _peak(finding: Mapping[str, Any]) -> dict[str, int]:
    peak = (finding.get("cam") or {}).get("peak_xy")
    return {"peak_x": peak[0], "peak_y": peak[1]} if peak else {}


def models(listed: Iterable[Model]) -> "pd.DataFrame":
    columns = ("name", "version", "aliases", "task", "evidence", "created_at", "sha256")
    rows = [
        {**version, "aliases": [alias for alias, at in model["aliases"].items() if at == version["version"]]}
        for model in listed
        for version in model["versions"]
    ]
    return _frame(rows, columns)


def metrics(series: Mapping[str, Iterable[tuple[int, float | None]]]) -> "pd.DataFrame":
    rows = [
        {"name": name, "step": step, "value": value}
        for name, points in series.items()
        for step, value in points
    ]
    return _frame(rows, ("name", "step", "value"))


def predictions(rows: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    """One row per item, one column per output."""
    flat = [{"ordinal": row["ordinal"], "item": row["item"], **row["outputs"]} for row in rows]
    names = dict.fromkeys(name for row in flat for name in row)
    return _frame(flat, tuple(names) or ("ordinal", "item"))


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415 - a second of start-up that only a notebook should pay

    return pd.DataFrame(list(rows), columns=list(columns))

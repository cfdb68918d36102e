"""What the container's probes take for a healthy worker."""

import json
import os
import time
from pathlib import Path

import pytest

from workers.probe import is_well


def pulse(folder: Path, *, age_s: float = 0, **said: object) -> None:
    path = folder / "a.json"
    path.write_text(json.dumps({"pid": 1, "state": "idle", "database": True, "broker": True} | said))
    os.utime(path, (time.time() - age_s,) * 2)


def answers(folder: Path) -> tuple[bool, bool]:
    return is_well(folder, "live", max_age_s=30), is_well(folder, "ready", max_age_s=30)


@pytest.mark.parametrize(
    ("said", "live_ready"),
    [
        ({}, (True, True)),
        ({"state": "busy"}, (True, True)),
        ({"state": "draining"}, (True, False)),
        ({"database": False}, (True, False)),
        ({"broker": False}, (True, False)),
        ({"age_s": 31}, (False, False)),
    ],
)
def test_a_pulse_is_judged_by_age_and_word(
    tmp_path: Path, said: dict[str, object], live_ready: tuple[bool, bool]
) -> None:
    pulse(tmp_path, **said)  # type: ignore[arg-type]  # the table above names each by its type
    assert answers(tmp_path) == live_ready


def test_no_pulse_or_a_torn_one_is_no_life(tmp_path: Path) -> None:
    assert answers(tmp_path) == (False, False)
    (tmp_path / "a.json").write_text("{")
    assert answers(tmp_path) == (False, False)

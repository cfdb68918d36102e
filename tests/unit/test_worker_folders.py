"""Folders that workers of one home share: none of them may break another's start."""

import json
import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.domain.ids import new_id
from service.domain.jobs import Timers
from workers.heart import Heart, Identity
from workers.supervisor import _pulse, _scratch


def _start_and_end(home: Path, times: int) -> None:
    for _ in range(times):
        with _scratch(home) as own:
            (own / "job").mkdir()


def test_workers_that_start_and_end_at_once_keep_their_own_scratch_folder(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    processes = [spawn.Process(target=_start_and_end, args=(tmp_path, 200)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]


def test_what_a_killed_worker_left_is_cleared_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    (tmp_path / "scratch" / "1" / "job").mkdir(parents=True)
    with _scratch(tmp_path) as own:
        assert list((tmp_path / "scratch").iterdir()) == [own]
        (own / "job").mkdir()
        other = multiprocessing.get_context("fork").Process(target=_start_and_end, args=(tmp_path, 1))
        other.start()
        other.join()
        assert (other.exitcode, (own / "job").exists()) == (0, True)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_pulse_that_cannot_be_written_does_not_end_the_heart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    who = Identity(new_id(), ["batch"], 1, {}, {})
    engine: Any = SimpleNamespace()
    heart = Heart(engine, who, Timers(), pulse=tmp_path / "gone" / "a.json")
    heart._write_pulse(database=True)
    assert "pulse_failed" in capsys.readouterr().out
    pulse = _pulse(tmp_path / "gone", who)
    Heart(engine, who, Timers(), pulse=pulse)._write_pulse(database=True)
    assert json.loads(pulse.read_text())["database"] is True

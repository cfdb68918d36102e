"""One `enteron up` per folder, and what holds the folder says who it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.guard import Held, hold


def test_a_second_holder_learns_who_the_first_is(tmp_path: Path) -> None:
    with (
        hold(tmp_path, "guard", wait_s=0),
        pytest.raises(Held) as caught,
        hold(tmp_path, "up", wait_s=0),
    ):
        pytest.fail("both hold it")
    assert caught.value.holder == "guard"


def test_it_is_free_again_afterwards(tmp_path: Path) -> None:
    for holder in ("up", "guard", "up"):
        with hold(tmp_path, holder, wait_s=0):  # type: ignore[arg-type]
            assert (tmp_path / "up.lock").read_text() == holder


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    program = (
        "import pathlib, time, sys; from service.guard import hold\n"
        "with hold(pathlib.Path(sys.argv[1]), 'up', wait_s=0): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(Held), hold(tmp_path, "guard", wait_s=0):
            pytest.fail("both hold it")
        process.kill()
        with hold(tmp_path, "guard", wait_s=10):
            pass


def test_a_guard_that_is_told_so_does_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service.guard", str(tmp_path)]
    completed = subprocess.run(command, input=b".", capture_output=True, check=True, timeout=60)
    assert completed.stderr == b""
    assert not (tmp_path / "up.lock").exists()

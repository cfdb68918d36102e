"""Processes of one machine: restarted when they end, stopped in order, gone with their parent."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from service import children as children_module
from service.children import Children, Part

PROGRAM = """
import pathlib, signal, sys, time
folder, name, deaf = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "deaf"
def end(*_):
    with open(folder / "ended", "a") as file:
        file.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else end)
with open(folder / f"{name}.starts", "a") as file:
    file.write("x")
time.sleep(60)
"""


def eventually(true: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def part(tmp_path: Path) -> Callable[..., Part]:
    (tmp_path / "program.py").write_text(PROGRAM)
    path = f"{tmp_path}{os.pathsep}{Path.cwd()}"

    def make(name: str, stage: int = 0, hearing: str = "hears", grace_s: float = 10.0) -> Part:
        module = ("program", str(tmp_path), name, hearing)
        environment = {"PYTHONPATH": path}
        return Part(name, module, environment, tmp_path / f"{name}.log", stage=stage, grace_s=grace_s)

    return make


@pytest.fixture
def run() -> Iterator[Callable[..., tuple[Children, list[str]]]]:
    started: list[Children] = []
    hurry = threading.Event()

    def start(*parts: Part) -> tuple[Children, list[str]]:
        said: list[str] = []
        children = Children(parts, said.append, hurry)
        children.start()
        started.append(children)
        return children, said

    yield start
    hurry.set()
    for children in started:
        children.stop()


def starts(folder: Path, name: str) -> int:
    path = folder / f"{name}.starts"
    return len(path.read_text()) if path.exists() else 0


def test_stages_end_in_order(part: Callable[..., Part], run: Callable[..., object], tmp_path: Path) -> None:
    children, _ = run(part("last", stage=2), part("first", stage=0), part("middle", stage=1))  # type: ignore[misc]
    eventually(lambda: all(starts(tmp_path, name) for name in ("first", "middle", "last")))
    children.stop()
    assert (tmp_path / "ended").read_text().split() == ["first", "middle", "last"]
    assert children.pids()
    assert not any(Path("/proc", str(pid)).exists() for pid in children.pids().values())


def test_a_child_that_ends_starts_again(
    part: Callable[..., Part], run: Callable[..., object], tmp_path: Path
) -> None:
    children, said = run(part("one"))  # type: ignore[misc]
    eventually(lambda: starts(tmp_path, "one") == 1)
    os.kill(children.pids()["one"], signal.SIGKILL)
    eventually(lambda: starts(tmp_path, "one") == 2)
    assert said == ["one ended (code -9); it starts again in 0.5 s"]
    assert children.failing(times=1) is not None
    assert children.failing(times=2) is None


def test_a_late_child_waits_for_its_turn(
    part: Callable[..., Part], run: Callable[..., object], tmp_path: Path
) -> None:
    children, _ = run(part("early"), replace(part("late"), late=True))  # type: ignore[misc]
    eventually(lambda: starts(tmp_path, "early") == 1)
    assert set(children.pids()) == {"early"}
    children.start_late()
    eventually(lambda: starts(tmp_path, "late") == 1)


def test_a_long_log_is_turned(
    part: Callable[..., Part], run: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children_module, "_LOG_BYTES", 1000)
    log = tmp_path / "one.log"
    log.write_text("x" * 2000 + "end")
    run(part("one"))
    eventually(lambda: log.stat().st_size == 0)
    kept = (tmp_path / "one.log.1").read_text()
    assert len(kept) == 1000
    assert kept.endswith("xend")


def test_a_deaf_child_is_killed_after_its_grace(
    part: Callable[..., Part], run: Callable[..., object], tmp_path: Path
) -> None:
    children, said = run(part("deaf", hearing="deaf", grace_s=0.1))  # type: ignore[misc]
    eventually(lambda: starts(tmp_path, "deaf") == 1)
    pid = children.pids()["deaf"]
    children.stop()
    assert not Path("/proc", str(pid)).exists()
    assert said == ["deaf did not end in time and is killed"]


def test_a_killed_parent_leaves_no_child(part: Callable[..., Part], tmp_path: Path) -> None:
    made = part("orphan")
    parent = textwrap.dedent(f"""
        import pathlib, time
        from service.children import Children, Part
        part = Part("orphan", {made.module!r}, {dict(made.environment)!r}, pathlib.Path({str(made.log)!r}))
        children = Children([part], print)
        children.start()
        while not children.pids():
            time.sleep(0.01)
        print(children.pids()["orphan"], flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        eventually(lambda: starts(tmp_path, "orphan") == 1)
        process.kill()
    eventually(lambda: not Path("/proc", str(child), "cmdline").exists() or _is_zombie(child))


def _is_zombie(pid: int) -> bool:
    """In a container nobody may reap it; it runs no more all the same."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True

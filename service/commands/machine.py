"""`enteron up`, `demo` and `doctor`: everything on one machine."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.parts import settings
from service.commands.problems import INTERRUPTED, OK, PROBLEM, Complaint, describe
from service.commands.terminal import JsonFlag, Table, Terminal

if TYPE_CHECKING:
    from service.launcher import Machine


def up(
    with_demo: Annotated[
        bool, typer.Option("--demo", help="Train the demo model if there is none, and read frames.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Start everything on this machine, and stop it with Ctrl-C. The data stays."""
    terminal = Terminal(json=json_)
    with _machine(terminal, end_code=OK) as machine:
        value = _demo(machine, terminal) if with_demo else {}
        value |= {"url": machine.url, "key": machine.key}
        terminal.result(value, f"Page  {machine.url}/", f"Key   {machine.key}", "Ctrl-C stops everything.")
        while True:
            time.sleep(3600)


def demo(json_: JsonFlag = False) -> None:
    """The main path once: drawn frames, a small training, findings with heat maps. Exit code 0 or 1."""
    terminal = Terminal(json=json_)
    try:
        with _machine(terminal, end_code=INTERRUPTED) as machine:
            value = _demo(machine, terminal)
    except Exception as problem:
        known = describe(problem)
        if known is None:
            raise
        # Whoever runs the demo asks one question: does it work here?
        raise Complaint(known[0], known[1], exit_code=PROBLEM) from problem
    terminal.result(value)


def _demo(machine: "Machine", terminal: Terminal) -> dict[str, Any]:
    from service.commands.demo import run_demo

    return run_demo(machine.client, terminal, settings().home.resolve() / "demo")


@contextmanager
def _machine(terminal: Terminal, *, end_code: int) -> Iterator["Machine"]:
    """Everything runs within the block; the first signal ends it in order."""
    from service.launcher import LaunchError, running

    hurry = _end_by_signals()
    try:
        with running(settings(), terminal.say, hurry) as machine:
            yield machine
    except LaunchError as problem:
        raise Complaint(str(problem), problem.advice, exit_code=PROBLEM) from None
    except _Ended:
        terminal.say("Stopped. The data is kept.")
        raise typer.Exit(end_code) from None


class _Ended(BaseException):
    """Somebody asked for the end: Ctrl-C, SIGTERM, or the terminal was closed."""


def _end_by_signals() -> Event:
    """The first signal ends everything in order; a second sets the event: no more waiting for workers."""
    ending, hurry = Event(), Event()

    def end(number: int, frame: FrameType | None) -> None:
        if ending.is_set():
            hurry.set()
            return
        ending.set()
        raise _Ended

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    return hurry


def doctor(json_: JsonFlag = False) -> None:
    """Check this installation from the processor to a job's whole way; exit code 1 on a problem."""
    from service.doctor import examine

    terminal = Terminal(json=json_)
    checks = examine(settings(), terminal.say)
    rows = [("ok" if c.ok else "WRONG", c.name, c.found, "" if c.ok else c.advice) for c in checks]
    terminal.result([vars(check) for check in checks], Table(("", "what", "found", "what to do"), rows))
    if not all(check.ok for check in checks):
        raise typer.Exit(PROBLEM)

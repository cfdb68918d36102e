"""`enteron up`, `demo` and `doctor`: everything on one machine."""

import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.parts import settings
from service.commands.problems import PROBLEM, Complaint
from service.commands.terminal import JsonFlag, Table, Terminal

if TYPE_CHECKING:
    from service.launcher import Machine


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Train the demo model if there is none, and read frames.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Start everything on this machine, and stop it with Ctrl-C. The data stays."""
    terminal = Terminal(json=json_)
    _run(terminal, demo=demo, stay=True)


def demo(json_: JsonFlag = False) -> None:
    """The main path once: drawn frames, a small training, findings with heat maps. Exit code 0 or 1."""
    _run(Terminal(json=json_), demo=True, stay=False)


def _run(terminal: Terminal, *, demo: bool, stay: bool) -> None:
    from service.launcher import LaunchError, running

    _end_by_signals()
    try:
        with running(settings(), terminal.say) as machine:
            if demo:
                _show_demo(machine, terminal)
            if stay:
                _stay(machine, terminal)
    except LaunchError as problem:
        raise Complaint(str(problem), problem.advice, exit_code=PROBLEM) from None
    except _Ended:
        terminal.say("Stopped. The data is kept.")


def _show_demo(machine: "Machine", terminal: Terminal) -> None:
    from service.demo import run_demo

    run_demo(machine.client, terminal)


def _stay(machine: "Machine", terminal: Terminal) -> None:
    access = {"url": machine.url, "key": machine.key}
    terminal.result(access, f"Page  {machine.url}/", f"Key   {machine.key}", "Ctrl-C stops everything.")
    sys.stdout.flush()
    while True:
        time.sleep(3600)


class _Ended(BaseException):
    """Somebody asked for the end: Ctrl-C, SIGTERM, or the terminal was closed."""


def _end_by_signals() -> None:
    """The first signal ends everything in order; later ones must not cut that short."""

    def end(number: int, frame: FrameType | None) -> None:
        for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        raise _Ended

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def doctor(json_: JsonFlag = False) -> None:
    """Check this installation from the processor to a job's whole way; exit code 1 on a problem."""
    from service.doctor import examine

    terminal = Terminal(json=json_)
    checks = examine(settings(), terminal.say)
    rows = [("ok" if c.ok else "WRONG", c.name, c.found, "" if c.ok else c.advice) for c in checks]
    terminal.result([vars(check) for check in checks], Table(("", "what", "found", "what to do"), rows))
    if not all(check.ok for check in checks):
        raise typer.Exit(PROBLEM)

"""What commands say: results to stdout, everything else to stderr; tables and bars only on a terminal."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from service.client.resources import Job

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]
# Called with (done, total, what is being done); a total of None means that nobody knows.
Show = Callable[[float, float | None, str], None]

_PLAIN_EVERY_S = 5.0


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; the styles colour whole columns by position."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    right: frozenset[int] = frozenset()  # columns of numbers


class Terminal:
    """One command's way to speak."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json

    def result(self, value: Any, *shown: Table | str) -> None:
        """The command's answer: as JSON for programs, else as tables and lines."""
        if self.json:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
            return
        _write(sys.stdout, shown)

    def say(self, *shown: Table | str) -> None:
        """For the person alone: never mixed into the result."""
        _write(sys.stderr, shown)

    @contextmanager
    def progress(self, what: str, unit: str = "") -> Iterator[Show]:
        """A bar on a terminal, a line now and then elsewhere."""
        if sys.stderr.isatty():
            with _bar(what, unit) as show:
                yield show
        else:
            yield _lines(self, unit)

    @contextmanager
    def job_progress(self, what: str) -> Iterator[Callable[["Job"], None]]:
        """Shows a job as `Enteron.wait` reports it."""
        with self.progress(what) as show:

            def report(job: "Job") -> None:
                progress = job["progress"]
                message = (progress.get("message") or job["state"]).replace("_", " ")
                show(progress.get("done") or 0, progress.get("total"), f"{what}: {message}")

            yield report


def printable(text: str) -> str:
    """Names come from files and servers: one with an escape sequence must not drive the terminal."""
    return "".join(character if character.isprintable() or character in "\n\t" else "�" for character in text)


def plain(table: Table) -> str:
    """Tab-separated, with headings: what `cut` and `awk` like."""
    rows = [table.columns, *table.rows]
    return "".join("\t".join(_one_line(cell) for cell in row) + "\n" for row in rows)


def _one_line(cell: str) -> str:
    return printable(cell).replace("\t", " ").replace("\n", " ")


def percent(value: float | None, *, digits: int = 0) -> str:
    return "not measured" if value is None else f"{value:.{digits}%}".replace("%", " %")


def _write(stream: TextIO, shown: Sequence[Table | str]) -> None:
    for item in shown:
        if isinstance(item, str):
            stream.write(printable(item) + "\n")
        elif stream.isatty():
            _console(stream).print(_drawn(item))
        else:
            stream.write(plain(item))
    stream.flush()


def _console(stream: TextIO) -> "Console":
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False)


def _drawn(table: Table) -> Any:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    drawn = Grid(box=box.SIMPLE_HEAD, title=table.title or None, title_justify="left", pad_edge=False)
    for index, column in enumerate(table.columns):
        drawn.add_column(column, justify="right" if index in table.right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(_one_line(cell)) for cell in row))
    return drawn


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Show]:
    from rich import progress as rich_progress

    in_bytes = unit == "bytes"
    amount = rich_progress.DownloadColumn() if in_bytes else rich_progress.MofNCompleteColumn(separator=" / ")
    columns = (
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        amount,
        rich_progress.TimeElapsedColumn(),
    )
    with rich_progress.Progress(*columns, console=_console(sys.stderr)) as bar:
        task = bar.add_task(what, total=None)

        def show(done: float, total: float | None, description: str) -> None:
            bar.update(task, completed=done, total=total, description=printable(description))

        yield show


def _lines(terminal: Terminal, unit: str) -> Show:
    said_at, said = 0.0, ""

    def show(done: float, total: float | None, description: str) -> None:
        nonlocal said_at, said
        now = time.monotonic()
        if description == said and now - said_at < _PLAIN_EVERY_S:
            return
        said_at, said = now, description
        of = f" {done:g} of {total:g} {unit}".rstrip() if total else ""
        terminal.say(description + of)

    return show

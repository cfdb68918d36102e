"""What commands say: results to stdout, everything else to stderr; tables and bars only on a terminal."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from service.client.resources import Job

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]
_PLAIN_EVERY_S = 5.0
_TELLING_FRACTION = 0.05  # before that, an estimate of the time left is noise


class Show(Protocol):
    """Takes news of progress; a total of None means that nobody knows, `note` changes all the time."""

    def __call__(self, done: float, total: float | None, what: str, note: str = "") -> None: ...


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; columns by their numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    right: frozenset[int] = frozenset()  # columns of numbers
    whole: frozenset[int] = frozenset()  # columns never folded: ids that are copied


class Terminal:
    """One command's way to speak."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json

    def result(self, value: Any, *shown: Table | str) -> None:
        """The command's answer: as JSON for programs, else as tables and lines."""
        if self.json:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        else:
            _write(sys.stdout, shown)

    def show(self, *shown: Table | str) -> None:
        """The part of the answer that people need not wait for; programs get it with the rest."""
        if not self.json:
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
            yield lambda job: show(*told(job, what))


def told(job: "Job", what: str) -> tuple[float, float | None, str, str]:
    """(done, total, sentence, time left) of a job as it stands."""
    progress = job["progress"]
    sentence = f"{what}: {progress['message'] or job['state']}"
    begun = (progress["fraction"] or 0) > _TELLING_FRACTION
    return progress["done"] or 0, progress["total"], sentence, _left(progress["eta_s"]) if begun else ""


def _left(eta_s: float | None) -> str:
    if eta_s is None or eta_s < 5:
        return ""
    return f", {eta_s / 60:.0f} min left" if eta_s >= 90 else f", {round(eta_s, -1) or 5:.0f} s left"


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
        justify: Literal["left", "right"] = "right" if index in table.right else "left"
        drawn.add_column(column, justify=justify, overflow="fold", no_wrap=index in table.whole)
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

        def show(done: float, total: float | None, what: str, note: str = "") -> None:
            bar.update(task, completed=done, total=total, description=printable(what + note))

        yield show


def _amount(done: float, total: float, unit: str) -> str:
    if unit == "bytes":
        return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
    return f"{done:g} of {total:g} {unit}".rstrip()


def _lines(terminal: Terminal, unit: str) -> Show:
    said_at, said = 0.0, ""

    def show(done: float, total: float | None, what: str, note: str = "") -> None:
        nonlocal said_at, said
        now = time.monotonic()
        if what == said and now - said_at < _PLAIN_EVERY_S:
            return
        said_at, said = now, what
        amount = f" {_amount(done, total, unit)}" if total else ""
        terminal.say(what + amount + note)

    return show

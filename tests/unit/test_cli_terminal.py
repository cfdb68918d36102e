"""What commands print: for people, for pipes, for programs."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.commands.terminal import Table, Terminal, percent, plain, printable, told

TABLE = Table(("name", "value"), [("a", "1"), ("b\tc", "2")])


def test_a_pipe_gets_tabs_and_headings(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().result({}, "two rows", TABLE)
    out, err = capsys.readouterr()
    assert out == "two rows\nname\tvalue\na\t1\nb c\t2\n"
    assert err == ""


def test_json_is_all_there_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(json=True)
    terminal.say("hello")
    with terminal.progress("Sending", "bytes") as show:
        show(1e6, 2.5e6, "Sending")
    terminal.result({"a": ["ü", 1]}, TABLE)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": ["ü", 1]}
    assert err == "hello\nSending 1.0 of 2.5 MB\n"


def test_lines_of_progress_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal().progress("Reading") as show:
        for done in range(100):
            show(done, 100, "Reading", f", {100 - done} s left")
        show(100, None, "Writing")
    assert capsys.readouterr().err == "Reading 0 of 100, 100 s left\nWriting\n"


@given(st.text())
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    shown = printable(text)
    assert all(character.isprintable() or character in "\n\t�" for character in shown)
    assert len(shown) == len(text)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_a_cell_never_makes_a_column(rows: list[tuple[str, str]]) -> None:
    lines = plain(Table(("a", "b"), rows)).split("\n")
    assert len(lines) == len(rows) + 2
    assert all(line.count("\t") == 1 for line in lines[:-1])


def test_percent_has_no_false_digits() -> None:
    assert percent(0.8731) == "87 %"
    assert percent(0.8731, digits=1) == "87.3 %"
    assert percent(None) == "not measured"


@pytest.mark.parametrize(
    ("eta_s", "left"),
    [(None, ""), (3.0, ""), (42.0, ", 40 s left"), (89.0, ", 90 s left"), (240.0, ", 4 min left")],
)
def test_a_job_is_told_in_a_sentence(eta_s: float | None, left: str) -> None:
    progress: Any = {"fraction": 0.75, "done": 3, "total": 4, "message": None, "eta_s": eta_s}
    job: Any = {"state": "running", "progress": progress}
    assert told(job, "Reading") == (3, 4, "Reading: running", left)
    progress["message"] = "reading frames"
    assert told(job, "Reading")[2] == "Reading: reading frames"
    progress["fraction"] = 0.01
    assert told(job, "Reading")[3] == ""

"""The report says what the leak check found as the check means it."""

import re

import numpy as np

from models.imaging.leaks import check_leaks, unchecked
from models.imaging.report import render_report
from tests.papers import PASSPORT, leaky, side, text_of
from tests.readers import reader_spec


def verdict_of(leaks: dict) -> tuple[str, str]:
    """Colour and words of the verdict."""
    page = render_report(reader_spec(), {"leaks": leaks}, PASSPORT)
    return re.search(r'Verdict: <span class="(\w+)">([^<]*)', page).groups()


def named(label: str) -> dict:
    """A file name that tells the label, in many groups: worth a note."""
    found = np.arange(80) % 2
    return {
        "names_N": np.array([f"{label if one else 'normal'}-{row}.png" for row, one in enumerate(found)]),
        "labels_NK": found[:, None].astype(np.int8),
    }


def test_only_a_clean_verdict_is_painted_good():
    assert verdict_of(leaky()) == ("bad", "a leak: the figures flatter")
    hashes = [str(row) for row in range(400)]
    doubtful = check_leaks(side("a", hashes=["0"]), side(*["b"] * 400, hashes=hashes))
    assert doubtful["verdict"] == "doubtful"
    assert verdict_of(doubtful)[0] == "warn"
    colour, said = verdict_of(unchecked("it was imported"))
    assert colour == "warn"
    assert "not known" in said
    assert verdict_of(check_leaks(side("a"), side("b"))) == ("good", "clean")


def test_a_note_leaves_a_clean_verdict_good():
    groups = [str(row // 4) for row in range(80)]
    leaks = check_leaks(
        side(*(f"t{group}" for group in groups), **named("polyp")),
        side(*(f"j{group}" for group in groups), **named("polyp")),
        label_names=("polyp",),
    )
    assert [problem["grade"] for problem in leaks["problems"]] == ["note"]
    assert verdict_of(leaks) == ("good", "clean")
    text = text_of(render_report(reader_spec(), {"leaks": leaks}, PASSPORT))
    assert "polyp: label in names note 160 160 frames: their names alone tell the label" in text


def test_what_stopped_the_leak_check_is_said_with_its_reason():
    text = text_of(render_report(reader_spec(), {"leaks": unchecked("it was imported")}, PASSPORT))
    assert "training side: it was imported" in text
    assert "{" not in text[text.index("Leaks") :]

"""Report and card: well-formed, escaped, without script or address, and honest about what is missing."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from models.imaging import tokens
from models.imaging.card import render_card
from models.imaging.html import Html, element
from models.imaging.report import Passport, render_report, threshold
from models.imaging.report_judgement import answer, judge
from models.imaging.report_words import area, percent, share
from tests.readers import LABELS, reader_spec

PASSPORT = Passport(
    "lesion-detector", 3, "ab" * 32, 22_000_000, "2026-11-24 12:00 UTC", "clinic-a, version 1"
)
HOSTILE = "<script>alert(1)</script>\"'&"
VOID = {"meta"}


def estimate(value: float, low: float | None = None, high: float | None = None) -> dict:
    return {"value": value, "low": low, "high": high, "replicates": 1000}


def label_metrics(auc: float | None = 0.9, **changes) -> dict:
    def measured(value: float) -> dict | None:
        return None if auc is None else estimate(value, value - 0.05, min(1.0, value + 0.05))

    return {
        "auc": measured(auc or 0.0),
        "average_precision": measured(0.6),
        **{f"sensitivity_at_{bar}_specificity": measured(0.5) for bar in (80, 90, 95)},
        "brier": 0.1,
        "calibration_error": 0.04,
        "known": 60,
        "positives": 15,
        "prevalence": 0.25,
        "operating_points": {"balanced": {"threshold": 0.5, "sensitivity": estimate(0.8, 0.7, 0.9)}},
        "not_measured": [] if auc is not None else ["auc"],
        "pointing": None,
    } | changes


CURVES = {
    "roc": {"false_positive_rate": [0.0, 0.2, 1.0], "sensitivity": [0.0, 0.9, 1.0]},
    "precision_recall": {"recall": [0.0, 0.5, 1.0], "precision": [1.0, 0.8, 0.25]},
    "reliability": [
        {"low": 0.0, "high": 0.5, "count": 40, "mean_probability": 0.2, "frequency": 0.1},
        {"low": 0.5, "high": 1.0, "count": 0, "mean_probability": None, "frequency": None},
    ],
}
MAP = {
    "pointing": {"hits": 9, "n": 15, "rate": 0.6, "lesion_share": 0.05},
    "overlap": {"value": 0.3, "low": 0.2, "high": 0.4},
    "random_weights": {"pointing": {"rate": 0.07}, "overlap": {"value": 0.04}},
}


def metrics(**labels) -> dict:
    return {
        "frames": 60,
        "groups": 8,
        "mean_auc": 0.9,
        "labels": labels,
        "colour_baseline": {name: estimate(0.6, 0.5, 0.7) for name in labels},
    }


class WellFormed(HTMLParser):
    """Complains of elements that are not closed in the order in which they were opened."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(page: str) -> WellFormed:
    parser = WellFormed()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def text_of(page: str) -> str:
    return " ".join(" ".join(read(page).words).split())


@pytest.fixture(scope="module")
def full() -> str:
    """All that a report may show, for the four labels."""
    found = metrics(**{name: label_metrics(curves=CURVES, map=MAP) for name in LABELS})
    found |= {
        "leaks": {
            "verdict": "leaks",
            "problems": [{"code": "group_on_both_sides", "count": 3}],
            "checked": ["groups"],
            "not_checked": ["near_duplicates"],
        },
        "comparison": {"triplet": {"mean_auc": 0.91}},
        "training": {
            "split": {"frames": {"train": 184, "test": 60}, "groups": {"train": 23, "test": 8}},
            "params": {"backbone": "resnet18", "augment": True},
            "training": {"best_epoch": 2, "reason": "epochs"},
        },
    }
    return render_report(reader_spec(), found, PASSPORT)


def test_a_full_report_has_every_part(full):
    text = text_of(full)
    for part in ("Leaks", "What was not measured", "Data", "Training", "Passport", "Comparison"):
        assert part in text
    assert text.count("ROC curve, n = 60") == text.count("Reliability, n = 60") == len(LABELS)
    assert full.count("<svg") == len(LABELS) * 5 + 1
    assert full.count("<details>") == full.count("<svg") + 1  # each plot's table, and the parameters
    assert "group on both sides" in text
    assert "near duplicates" in text
    assert PASSPORT.sha256 in text
    assert text.count("Research use. Not for diagnosis.") >= 2


def test_nothing_runs_and_nothing_is_fetched(full):
    for page in (full, render_card(reader_spec(), PASSPORT)):
        parser = read(page)
        assert not {tag for tag, _ in parser.seen} & {
            "script",
            "link",
            "img",
            "iframe",
            "object",
            "image",
            "a",
        }
        for _, attributes in parser.seen:
            assert not [
                name for name in attributes if name.startswith("on") or name in {"href", "src", "style"}
            ]
        addresses = set(re.findall(r"[a-z]+://[^\"' <]*", page))
        assert addresses <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }  # names, not places
        assert "url(" not in page
        policy = next(a["content"] for tag, a in parser.seen if a.get("http-equiv"))
        assert policy.startswith("default-src 'none'; style-src 'sha256-")


@pytest.mark.parametrize("render", ["report", "card"])
def test_text_of_users_stays_text(render):
    spec = reader_spec(labels=(HOSTILE,), intended_use=HOSTILE, limitations=HOSTILE, licence=HOSTILE)
    passport = replace(PASSPORT, name=HOSTILE, dataset=HOSTILE)
    found = metrics(**{HOSTILE: label_metrics(curves=CURVES, map=MAP)}) | {
        "training": {"params": {HOSTILE: HOSTILE}},
        "leaks": {"verdict": HOSTILE, "problems": [{"code": HOSTILE, "count": 1}]},
    }
    page = (
        render_report(spec, found, passport, measured_on=HOSTILE)
        if render == "report"
        else render_card(spec, passport)
    )
    assert "<script" not in page
    assert {tag for tag, _ in read(page).seen}.isdisjoint({"script"})
    assert text_of(page).count("alert(1)") >= 4


def test_what_is_missing_is_said_and_never_a_zero():
    found = metrics(polyp=label_metrics(), bleeding=label_metrics(auc=None, prevalence=None))
    page = render_report(reader_spec(), found, PASSPORT)
    text = text_of(page)
    assert "not measured for bleeding" in text
    assert "ROC curve, precision over recall and reliability: not measured." in text
    assert "Its map: not measured." in text
    assert "inflammatory: everything" in text
    assert "leak into each other: not measured" in text
    assert "bleeding: AUC" in text
    assert page.count("<svg") == 2  # the overview and polyp's sensitivities


def test_a_version_of_which_nothing_is_known():
    text = text_of(render_report(reader_spec(), {}, PASSPORT))
    assert "Nothing was measured of this version." in text
    assert "polyp: everything" in text
    assert "Measured on nothing" in text
    assert "Nothing is known here of how it was trained." in text


def test_measures_that_are_new_to_the_report_are_shown_all_the_same():
    found = metrics(polyp=label_metrics(mcc=estimate(0.71, 0.6, 0.8))) | {"macro_f1": 0.333}
    text = text_of(render_report(reader_spec(), found, PASSPORT))
    assert "mcc 0.71 (0.60 to 0.80)" in text
    assert "macro f1 0.33" in text


@pytest.mark.parametrize(
    ("auc", "colour", "word"),
    [
        (None, None, "not_measured"),
        (estimate(0.9), None, "no_interval"),
        (estimate(0.6, 0.45, 0.7), estimate(0.5), "as_chance"),
        (estimate(0.9, 0.8, 0.95), None, "beats_chance"),
        (estimate(0.9, 0.8, 0.95), estimate(0.85), "as_colour"),
        (estimate(0.9, 0.8, 0.95), estimate(0.7), "beats_colour"),
    ],
)
def test_a_label_is_judged_by_the_lower_end_of_its_interval(auc, colour, word):
    assert judge({"auc": auc}, colour) == word


def test_the_answer_says_on_what():
    found = metrics(polyp=label_metrics(), content=label_metrics(auc=0.52))
    said = answer(found, drawn=True)
    assert said == (
        "On 60 drawn frames of 8 groups that it had not learnt from: better than colour alone for polyp; "
        "not told from chance for content."
    )
    assert "flatters" in answer(found | {"trained_on_it": True})


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0 %"), (0.001, "< 1 %"), (0.873, "87 %"), (0.9994, "> 99 %"), (1.0, "100 %"), (None, None)],
)
def test_percent_has_no_false_digits(value, said):
    assert percent(value) == said


def test_an_interval_that_is_missing_is_named():
    assert area(estimate(0.9, 0.8, 0.95)) == "0.90 (0.80 to 0.95)"
    assert area(estimate(0.9)) == "0.90 (no interval)"
    assert share(estimate(0.9, 0.8, 0.95)) == "90 % (80 to 95)"
    assert area(None) is share(None) is None


def test_only_what_is_marked_as_html_is_html():
    assert element("p", "<b>", Html("<i></i>"), title='"') == '<p title="&quot;">&lt;b&gt;<i></i></p>'
    with pytest.raises(ValueError, match="name"):
        element("p onload=x")


def test_the_card_holds_the_spec():
    text = text_of(render_card(reader_spec(), PASSPORT))
    for label in LABELS:
        assert label in text
    assert "Tests." in text
    assert "balanced 50 % 50 % 50 % 50 %" in text or "polyp 50 %" in text


def test_the_tokens_are_those_of_the_page():
    css = Path(__file__).parents[2].joinpath("service/web/tokens.css").read_text()
    light = css[css.index('[data-theme="light"]') :]
    stated = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light[: light.index("}")]))
    assert {name: stated[name] for name in tokens.LIGHT} == tokens.LIGHT
    assert {name: stated[name] for name in tokens.LABEL_COLOURS} == tokens.LABEL_COLOURS


def test_metrics_survive_json():
    found = json.loads(json.dumps(metrics(polyp=label_metrics(curves=CURVES, map=MAP))))
    assert "polyp" in render_report(reader_spec(), found, PASSPORT)


@pytest.mark.parametrize(("value", "said"), [(1.0, "off"), (0.5, "50")])
def test_a_label_that_is_off_says_so(value, said):
    assert threshold(value).startswith(said)

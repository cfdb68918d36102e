"""Report and card: well-formed, escaped, without script or address, and honest about what is missing."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.decisions import decision_metrics, mean_decision_metrics
from models.exports import Source, write
from models.imaging import tokens
from models.imaging.card import render_card
from models.imaging.classifier_evaluation import measure_classes
from models.imaging.html import Html, element
from models.imaging.leaks import unchecked
from models.imaging.predictor import Predictions
from models.imaging.report import render_report
from models.imaging.report_judgement import answer, judge
from models.imaging.report_labels import threshold
from models.imaging.report_words import area, percent, share
from models.schema import encode
from tests.papers import CURVES, MAP, PASSPORT, estimate, label_metrics, leaky, metrics, read, text_of
from tests.readers import LABELS, reader_spec

HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def full() -> str:
    """All that a report may show, for the four labels."""
    found = metrics(**{name: label_metrics(curves=CURVES, map=MAP) for name in LABELS})
    found |= {
        "leaks": leaky(),
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
    assert "group on both sides leak 2 3 judged groups are training groups too, with 3 judged frames" in text
    assert "near duplicates: perceptual hashes of the frames are not at hand" in text
    assert PASSPORT.sha256 in text
    assert text.count("Research use. Not for diagnosis.") >= 2


def test_nothing_runs_and_nothing_is_fetched(full):
    for page in (full, render_card(reader_spec(), {}, PASSPORT)):
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
        "leaks": unchecked(HOSTILE) | {"verdict": HOSTILE},
        "beyond": {HOSTILE: {HOSTILE: HOSTILE}},
    }
    page = (
        render_report(spec, found, passport, measured_on=HOSTILE)
        if render == "report"
        else render_card(spec, found, passport)
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
    found = metrics(polyp=label_metrics(new_one=estimate(0.71, 0.6, 0.8))) | {"mean_new_one": 0.333}
    text = text_of(render_report(reader_spec(), found, PASSPORT))
    assert "new one 0.71 (0.60 to 0.80)" in text
    assert "mean new one 0.33" in text


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
    assert answer(found | {"cross_validated": True}).startswith(
        "On 60 frames of 8 groups, measured of networks that had not learnt from them, while the weights of "
        "this version have: better than"
    )


def test_networks_that_had_not_learnt_are_not_the_weights_of_the_version():
    found = metrics(polyp=label_metrics()) | {"cross_validated": True}
    for page in (
        render_report(reader_spec(), found, PASSPORT),
        render_card(reader_spec(), found, PASSPORT),
    ):
        assert "while the weights of this version have" in text_of(page)
        assert "it had not learnt from" not in text_of(page)


# --- decisions, classes and what was measured beside


def test_every_operating_point_has_the_measures_of_both_kinds_of_error():
    rng = np.random.default_rng(0)
    labels_N, groups_N = rng.integers(0, 2, 60).astype(np.int8), np.arange(60) // 6
    said_N = np.where(rng.random(60) < 0.8, labels_N == 1, labels_N == 0)
    own = encode(decision_metrics(labels_N, said_N, groups_N))
    means = encode(mean_decision_metrics(labels_N[:, None], said_N[:, None], groups_N))
    found = metrics(polyp=label_metrics(operating_points={"balanced": {"threshold": 0.5} | own}))
    text = text_of(render_report(reader_spec(), found | {"operating_points": {"balanced": means}}, PASSPORT))
    assert (
        f"operating point balanced accuracy F1 MCC balanced {share(own['balanced_accuracy'])} "
        f"{area(own['f1'])} {area(own['mcc'])}" in text
    )
    assert (
        f"macro F1 mean MCC mean balanced accuracy balanced {area(means['macro_f1'])} "
        f"{area(means['mean_mcc'])} {area(means['mean_balanced_accuracy'])}" in text
    )


def test_older_metrics_have_no_balanced_accuracy_and_say_so():
    text = text_of(render_report(reader_spec(), metrics(polyp=label_metrics()), PASSPORT))
    assert "F1 MCC balanced not measured not measured not measured" in text
    assert "all labels together" not in text


def test_classes_have_their_accuracy_and_what_was_answered_instead():
    rng = np.random.default_rng(0)
    p_BK = rng.dirichlet(np.ones(3), 40).astype(np.float32)
    predictions = Predictions(
        LABELS[:3], p_BK, p_BK, p_BK > 0.5, p_BK, p_BK, "balanced", engine="torch", dtype="float32"
    )
    class_N = rng.integers(0, 3, 40)
    spec = reader_spec(labels=LABELS[:3])
    found = measure_classes(predictions, class_N, (np.arange(40) // 5).astype(str), spec=spec)
    text = text_of(render_report(spec, found, PASSPORT))
    classes = found["classes"]
    assert f"accuracy {area(classes['metrics']['accuracy'])}" in text
    assert f"macro F1 {area(classes['metrics']['macro_f1'])}" in text
    for name, row in zip(LABELS, classes["confusion"], strict=False):
        assert f"{name} {' '.join(map(str, row))}" in text


BEYOND = {
    "cross_validation": {"folds": 5, "mean_auc": 0.953964},
    "polyp_maps_on_colonoscopy": {"frames": 494, "pointing": 0.35},
}


def test_further_measurements_stand_in_report_and_card():
    found = metrics(polyp=label_metrics()) | {"beyond": BEYOND}
    for page in (
        render_report(reader_spec(), found, PASSPORT),
        render_card(reader_spec(), found, PASSPORT),
    ):
        assert "Measured beside" in text_of(page)
        assert "cross_validation.mean_auc 0.954" in text_of(page)
    assert "Measured beside" not in text_of(render_report(reader_spec(), {}, PASSPORT))


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
    text = text_of(render_card(reader_spec(), {}, PASSPORT))
    assert "Nothing was measured of this version." in text
    for label in LABELS:
        assert label in text
    assert "Tests." in text
    assert "balanced 50 % 50 % 50 % 50 %" in text or "polyp 50 %" in text


def test_the_card_says_how_well_each_label_is_told(tmp_path):
    spec = reader_spec()
    spec = replace(spec, labels=(replace(spec.labels[0], evidence="real"), *spec.labels[1:]))
    page = tmp_path / "card.html"
    write("card", Source(spec, PASSPORT, metrics(polyp=label_metrics()), None, tmp_path), page)
    text = text_of(page.read_text())
    assert "polyp 0.90 (0.85 to 0.95) measured on real frames 15 of 60" in text
    assert "bleeding not measured not measured not measured" in text
    assert "better than colour alone for polyp" in text


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

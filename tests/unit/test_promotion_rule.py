"""When a version may take the champion's place: figures in, verdicts out."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.domain.promotion import Area, Basis, Comparison, Standing, Verdict, WorseThanChampion, compare

LABELS = ("polyp", "bleeding")


def metrics(fingerprint: str | None = None, *, learnt: bool = False, **areas: tuple | None) -> dict:
    """Areas as (value, low, high) per label; with a fingerprint, those of an evaluation."""
    labels = {
        label: {"auc": None if area is None else dict(zip(("value", "low", "high"), area, strict=True))}
        for label, area in areas.items()
    }
    return {"labels": labels} | (
        {"dataset_fingerprint": fingerprint, "trained_on_it": learnt} if fingerprint else {}
    )


def standing(own: dict | None = None, *evaluations: dict, **evidence: str) -> Standing:
    return Standing(evidence or {"polyp": "real"}, own or {}, evaluations)


def verdict(champion: Standing, challenger: Standing, label: str = "polyp") -> tuple:
    (found,) = (each for each in compare(champion, challenger) if each.label == label)
    return found.verdict, found.basis, found.data


GOOD, FAIR, POOR = (0.95, 0.93, 0.97), (0.94, 0.90, 0.98), (0.80, 0.75, 0.85)


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        (GOOD, GOOD, Verdict.NOT_WORSE),
        (GOOD, (0.931, 0.5, 1.0), Verdict.NOT_WORSE),
        (
            GOOD,
            (0.929, 0.92, 0.99),
            Verdict.WORSE,
        ),  # its own interval does not save it: the frames are the same
        (GOOD, None, Verdict.NOT_MEASURED),
        ((0.9, None, None), (0.9, None, None), Verdict.NOT_WORSE),
        ((0.9, None, None), (0.899, None, None), Verdict.WORSE),  # nothing says that this is chance
    ],
)
def test_on_one_data_set_a_value_below_the_champions_interval_is_worse(theirs, ours, expected):
    champion = standing(metrics(polyp=POOR), metrics("d", polyp=theirs))
    challenger = standing(metrics(polyp=POOR), metrics("d", polyp=ours))
    assert verdict(champion, challenger) == (expected, Basis.SAME_DATA, "d")


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        (GOOD, (0.90, 0.86, 0.94), Verdict.NOT_WORSE),  # the intervals overlap
        (GOOD, POOR, Verdict.WORSE),
        (GOOD, None, Verdict.NOT_MEASURED),
        (None, POOR, Verdict.NOT_COMPARABLE),
        (None, None, Verdict.NOT_COMPARABLE),
    ],
)
def test_on_different_frames_only_intervals_that_do_not_overlap_count(theirs, ours, expected):
    champion, challenger = standing(metrics(polyp=theirs)), standing(metrics(polyp=ours))
    assert verdict(champion, challenger) == (expected, Basis.OWN_TEST, None)


def test_an_evaluation_on_what_a_version_has_learnt_from_is_no_common_ground():
    champion = standing(metrics(polyp=GOOD), metrics("d", polyp=GOOD))
    challenger = standing(metrics(polyp=FAIR), metrics("d", learnt=True, polyp=POOR))
    assert verdict(champion, challenger) == (Verdict.NOT_WORSE, Basis.OWN_TEST, None)


def test_an_evaluation_that_leaks_is_no_common_ground_and_no_test():
    leaking = metrics("d", polyp=GOOD) | {"leaks": {"verdict": "leak"}}
    clean = metrics("d", polyp=POOR) | {"leaks": {"verdict": "clean"}}
    learnt, unchecked = standing(metrics(polyp=GOOD), clean), standing(metrics(polyp=FAIR), leaking)
    assert verdict(learnt, unchecked) == (Verdict.NOT_WORSE, Basis.OWN_TEST, None)
    assert standing(None, leaking).own_test == {}
    assert standing(None, leaking, clean).own_test == clean
    doubtful = metrics("d", polyp=GOOD) | {"leaks": {"verdict": "doubtful"}}
    assert standing(None, doubtful, metrics("e", polyp=POOR) | {"leaks": None}).own_test == doubtful


def test_the_newest_evaluation_on_each_data_set_counts():
    champion = standing(None, metrics("d", polyp=GOOD), metrics("d", polyp=POOR))
    challenger = standing(None, metrics("e", polyp=GOOD), metrics("d", polyp=POOR))
    assert verdict(champion, challenger) == (Verdict.WORSE, Basis.SAME_DATA, "d")


def test_a_common_data_set_without_the_label_does_not_hide_that_it_got_lost():
    both = {"polyp": "real", "bleeding": "real"}
    champion = standing(metrics(polyp=GOOD, bleeding=GOOD), metrics("d", polyp=GOOD, bleeding=None), **both)
    challenger = standing(metrics(polyp=GOOD, bleeding=POOR), metrics("d", polyp=GOOD, bleeding=None), **both)
    assert verdict(champion, challenger, "bleeding") == (Verdict.WORSE, Basis.OWN_TEST, None)


def test_a_label_that_is_gone_refuses_even_if_it_was_never_measured():
    assert verdict(standing(bleeding="none"), standing(polyp="none"), "bleeding")[0] == Verdict.MISSING


def test_figures_of_drawn_and_of_real_frames_are_not_compared():
    drawn = standing(metrics(polyp=GOOD), polyp="synthetic")
    real = standing(metrics(polyp=POOR), polyp="real")
    assert verdict(drawn, real)[0] == Verdict.NOT_COMPARABLE
    assert verdict(real, drawn)[0] == Verdict.WEAKER_EVIDENCE


def test_an_imported_version_stands_on_its_newest_evaluation():
    champion, imported = standing(metrics(polyp=GOOD)), standing(None, metrics("d", polyp=POOR))
    assert verdict(champion, imported)[0] == Verdict.WORSE
    assert verdict(champion, standing())[0] == Verdict.NOT_MEASURED


def test_the_refusal_names_each_label_with_its_figures_and_where_they_come_from():
    champion = standing(metrics(polyp=GOOD), metrics("f00d", polyp=GOOD), polyp="real", bleeding="real")
    challenger = standing(metrics(polyp=GOOD), metrics("f00d", polyp=POOR))
    refused = WorseThanChampion(Comparison(3, 4, compare(champion, challenger)))
    assert "polyp, bleeding" in refused.detail
    first, second = (error.detail for error in refused.errors)
    for part in ("polyp", "0.800 (0.750 to 0.850)", "0.950 (0.930 to 0.970)", "same data set f00d"):
        assert part in first
    assert second == "bleeding: the champion finds it, this version does not know it"


@st.composite
def areas(draw) -> tuple | None:
    low, value, high = sorted(draw(st.lists(st.floats(0, 1), min_size=3, max_size=3)))
    return draw(st.sampled_from([None, (value, low, high), (value, None, None)]))


@st.composite
def standings(draw) -> Standing:
    labels = draw(st.lists(st.sampled_from(LABELS), unique=True, min_size=1))
    measured = st.fixed_dictionaries({label: areas() for label in labels})
    own = draw(st.one_of(st.just({}), measured.map(lambda found: metrics(**found))))
    later = draw(st.lists(st.tuples(st.sampled_from("de"), st.booleans(), measured), max_size=3))
    evaluations = [metrics(name, learnt=learnt, **found) for name, learnt, found in later]
    evidence = {label: draw(st.sampled_from(["none", "synthetic", "real"])) for label in labels}
    return Standing(evidence, own, evaluations)


@given(standings())
def test_no_version_is_worse_than_itself(version):
    assert not any(label.refuses for label in compare(version, version))


@given(standings(), standings())
def test_every_label_of_the_champion_is_judged_once_and_no_other(champion, challenger):
    assert [label.label for label in compare(champion, challenger)] == list(champion.evidence)


@given(standings(), standings())
def test_what_only_the_challenger_finds_changes_nothing(champion, challenger):
    more = replace(challenger, evidence={**challenger.evidence, "ulcer": "real"})
    assert compare(champion, more) == compare(champion, challenger)


@given(standings(), standings())
def test_a_refusal_for_figures_is_always_backed_by_them(champion, challenger):
    for label in compare(champion, challenger):
        if label.verdict == Verdict.WORSE:
            assert label.challenger.value <= label.challenger.ceiling
            assert label.challenger.value < label.champion.value
        if label.verdict in (Verdict.WORSE, Verdict.NOT_MEASURED, Verdict.WEAKER_EVIDENCE):
            assert label.champion is not None


@given(areas(), areas(), st.floats(0, 1), st.booleans())
def test_a_better_figure_never_turns_a_yes_into_a_no(theirs, ours, gain, same_data):
    assume(ours is not None)
    better = tuple(None if bound is None else min(1.0, bound + gain) for bound in ours)

    def refused(area: tuple) -> bool:
        if same_data:
            pair = standing(None, metrics("d", polyp=theirs)), standing(None, metrics("d", polyp=area))
        else:
            pair = standing(metrics(polyp=theirs)), standing(metrics(polyp=area))
        return any(label.refuses for label in compare(*pair))

    assert refused(ours) or not refused(better)


@pytest.mark.parametrize("area", [Area(0.5, None, None), Area(0.5, 0.4, 0.6)])
def test_the_bounds_hold_the_value(area):
    assert area.floor <= area.value <= area.ceiling

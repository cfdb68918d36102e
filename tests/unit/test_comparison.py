"""Triplet against both cross-entropy baselines: arms, pairing, resumption, and the table."""

import json
from itertools import product

import numpy as np
import pytest
from scipy import stats

from models.events import CheckpointWritten, Metric
from models.imaging.comparison import CROSS_ENTROPY, FROZEN, TRIPLET, arms, compare
from models.imaging.comparison_table import difference, hardest, summary
from models.imaging.lesion_params import LesionDetectorParams
from models.imaging.lesion_training import fresh_detector
from models.imaging.prepare import TrainingRefused
from models.schema import SchemaError
from models.training import Interrupted, TrainingFailed
from tests.drawn_frames import SIZE, make_dataset

PARAMS = {
    "backbone": "resnet10",
    "backbone_params": {"width": 0.125, "output_stride": 16},
    "size_px": SIZE,
    "epochs": 1,
    "batch_size": 16,
    "learning_rate": 0.01,
    "augment": False,
    "precision": "float32",
}
HOW = {"folds": 2, "seeds": 2}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("frames"), groups=6, per_group=8)


@pytest.fixture(scope="module")
def compared(dataset, tmp_path_factory):
    events = []
    result = compare(dataset, PARAMS, HOW, tmp_path_factory.mktemp("work"), report=events.append)
    return result, events


def test_every_arm_runs_on_every_fold_with_every_seed(compared):
    result, _ = compared
    ran = {(run["arm"], run["fold"], run["seed"]) for run in result["runs"]}
    wanted = set(product((TRIPLET, CROSS_ENTROPY, FROZEN), (0, 1), (0, 1)))
    assert ran == wanted
    assert len(result["runs"]) == len(wanted)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_table_is_that_of_the_runs(compared):
    result, _ = compared
    for arm in (TRIPLET, CROSS_ENTROPY, FROZEN):
        by_fold = [
            np.mean(
                [
                    run["labels"]["polyp"]["auc"]
                    for run in result["runs"]
                    if run["arm"] == arm and run["fold"] == fold
                ]
            )
            for fold in (0, 1)
        ]
        told = result["summary"][arm]["polyp"]["auc"]
        assert told["folds"] == pytest.approx(by_fold)
        assert told["mean"] == pytest.approx(np.mean(by_fold))
        assert told["minimum"] == pytest.approx(min(by_fold))
        assert told["deviation"] == pytest.approx(np.std(by_fold, ddof=1))
    folds = result["folds"]
    assert sum(fold["frames"] for fold in folds) == 48
    assert not set(folds[0]["groups"]) & set(folds[1]["groups"])
    assert folds[0]["hardest"]["polyp"]["missed"]
    assert folds[0]["colour_auc"]["polyp"] is not None


def test_a_stopped_comparison_goes_on_after_the_runs_it_has(dataset, compared, tmp_path):
    whole, _ = compared
    runs = []

    def note(event):
        if isinstance(event, Metric):
            runs.append(event)

    stopped = compare(dataset, PARAMS, HOW, tmp_path, report=note, should_stop=lambda: len(runs) >= 4)
    assert isinstance(stopped, Interrupted)
    with pytest.raises(TrainingFailed) as refused:
        compare(dataset, PARAMS | {"epochs": 2}, HOW, tmp_path, resume_from=stopped.checkpoint)
    assert refused.value.code == "other_run"
    again = []
    resumed = compare(dataset, PARAMS, HOW, tmp_path, resume_from=stopped.checkpoint, report=again.append)
    written = [event for event in again if isinstance(event, CheckpointWritten)]
    assert 0 < len(written) < 12

    def timeless(result):
        return [{key: value for key, value in run.items() if key != "elapsed_s"} for run in result["runs"]]

    assert timeless(resumed) == timeless(whole)
    assert resumed["differences"] == whole["differences"]


def test_arms_differ_in_what_teaches_them_alone():
    settings = LesionDetectorParams()
    found = arms(settings)
    assert found[TRIPLET].triplet is not None
    assert found[CROSS_ENTROPY].triplet is None
    assert found[FROZEN].routing == "detached"
    assert all(arm.builder() == settings.builder() for arm in found.values())


def test_all_arms_start_from_the_same_weights():
    settings = LesionDetectorParams(backbone="resnet10", backbone_params={"width": 0.125})
    starts = [fresh_detector(arm, 2).state_dict() for arm in arms(settings).values()]
    for start in starts[1:]:
        assert all((start[name] == starts[0][name]).all() for name in starts[0])


def test_differences_are_paired_by_fold_with_students_interval():
    one, other = [0.9, 0.8, 0.95, 0.7], [0.85, 0.82, 0.9, 0.6]
    found = difference(one, other)
    reference = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert found["mean"] == pytest.approx(np.mean(one) - np.mean(other))
    assert (found["low"], found["high"]) == pytest.approx((reference.low, reference.high))
    assert difference([0.5], [0.4])["low"] is None
    assert difference([], []) is None


def test_a_fold_that_cannot_say_is_left_out_and_shown():
    runs = [
        {"arm": "a", "fold": fold, "labels": {"polyp": {"auc": value}}}
        for fold, value in [(0, 0.8), (0, 0.6), (1, None), (2, 0.9)]
    ]
    told = summary(runs, "a", ["polyp"], folds=3)["polyp"]["auc"]
    assert told["folds"] == [pytest.approx(0.7), None, 0.9]
    assert told["minimum"] == pytest.approx(0.7)


def test_hardest_frames_are_those_on_the_wrong_end():
    labels, ordinals = np.array([1, 1, 0, 0], np.int8), np.array([10, 11, 12, 13])
    found = hardest([[0.1, 0.9, 0.8, 0.2], [0.3, 0.9, 0.7, 0.1]], labels, ordinals)
    assert found == {"missed": [10, 11], "alarms": [12, 13]}


def test_what_cannot_be_compared_is_refused(dataset, tmp_path):
    with pytest.raises(TrainingRefused) as refused:
        compare(dataset, PARAMS, {"folds": 6}, tmp_path)
    assert refused.value.code == "too_few_groups"
    with pytest.raises(SchemaError):
        compare(dataset, PARAMS, {"folds": 1}, tmp_path)

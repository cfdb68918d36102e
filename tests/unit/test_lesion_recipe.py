"""The recipe from end to end on frames a few lines of code can draw: a disc is a polyp, a bar is content."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models.artifacts import ModelSpec, build_module, load_weights
from models.events import Metric, Progress
from models.imaging.predictor import load_predictor
from models.imaging.prepare import TrainingRefused, link_groups
from models.imaging.recipe import evaluate, run
from models.recipes import RECIPES, catalogue
from models.schema import SchemaError
from models.training import Interrupted
from tests.drawn_frames import SIZE, draw, make_dataset

PARAMS = {
    "backbone": "resnet10",
    "backbone_params": {"width": 0.125, "output_stride": 16},
    "size_px": SIZE,
    "epochs": 12,
    "batch_size": 16,
    "learning_rate": 0.01,
    "augment": False,
    "precision": "float32",
    "map_weight": 1.0,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    events = []
    result = run(dataset, PARAMS, tmp_path_factory.mktemp("work"), report=events.append)
    return result, events


def test_the_version_is_measured_on_unseen_groups(trained):
    result, _ = trained
    polyp = result.metrics["labels"]["polyp"]
    assert result.report["split"]["groups"] == {"train": 4, "tune": 1, "test": 1}
    assert result.report["split_problems"] == []
    assert polyp["auc"]["value"] >= 0.9
    assert polyp["pointing"]["n"] == polyp["positives"] == 8
    assert polyp["pointing"]["rate"] >= 0.75
    assert polyp["pointing"]["lesion_share"] < 0.2
    assert polyp["prevalence"] == 0.5
    assert result.metrics["labels"]["content"]["pointing"] is None
    assert "pointing" in result.metrics["labels"]["content"]["not_measured"]
    assert result.metrics["labels"]["content"]["known"] == 15
    assert result.metrics["colour_baseline"]["polyp"]["value"] <= 1


def test_the_split_is_checked_for_leaks(trained):
    leaks = trained[0].metrics["leaks"]
    assert leaks["verdict"] == "clean"
    assert {"identical_frames", "groups", "near_duplicates", "embeddings"} <= set(leaks["checked"])


def test_the_result_is_json(trained):
    result, _ = trained
    for part in (result.metrics, result.report):
        assert json.loads(json.dumps(part, allow_nan=False)) == part


def test_the_spec_says_what_it_is(trained):
    result, _ = trained
    spec = ModelSpec.from_json(result.spec.to_json())
    assert spec == result.spec
    assert spec.label_names == ("polyp", "content")
    assert {label.evidence for label in spec.labels} == {"synthetic"}
    assert spec.calibration["polyp"].slope != 1.0
    assert set(spec.operating_points) == {"balanced", "sensitive", "specific"}
    assert len(spec.dataset_fingerprint) == 64


def test_the_files_give_the_measured_model_back(trained, dataset, tmp_path):
    result, _ = trained
    module = build_module(result.spec, load_weights(result.weights_path, result.sha256))
    assert not module.training
    again = evaluate(result.weights_path, result.sha256, result.spec, dataset, tmp_path)
    assert again["frames"] == 96
    assert again["trained_on_it"] is True
    assert again["labels"]["polyp"]["auc"]["low"] is not None
    assert again["leaks"]["verdict"] == "unknown"
    (tmp_path / "again").mkdir()
    files = result.weights_path, result.sha256, result.spec, dataset, tmp_path / "again"
    known = evaluate(*files, training_index=dataset / "index.parquet")["leaks"]
    found = {problem["code"]: problem for problem in known["problems"]}
    assert known["verdict"] == "leak"
    assert (found["identical_frames"]["count"], found["group_on_both_sides"]["count"]) == (96, 6)


def test_an_evaluation_on_other_frames_measures_the_labels_they_have(trained, dataset, tmp_path):
    result, _ = trained
    other = make_dataset(tmp_path, groups=2, per_group=8, seed=9, polyp=lambda group, frame: 0)
    index = dataset / "index.parquet"
    files = result.weights_path, result.sha256, result.spec, other, tmp_path
    metrics = evaluate(*files, training_index=index)
    assert metrics["trained_on_it"] is False
    # Both datasets count their patients from 0.
    assert metrics["leaks"]["verdict"] == "doubtful"
    assert [problem["code"] for problem in metrics["leaks"]["problems"]] == ["group_on_both_sides"]
    assert metrics["labels"]["polyp"]["auc"] is None
    assert "auc" in metrics["labels"]["polyp"]["not_measured"]
    assert metrics["labels"]["content"]["auc"]["value"] > 0.5


def test_probabilities_come_from_the_saved_predictor(trained):
    result, _ = trained
    rng = np.random.default_rng(77)
    frames = np.stack([draw(rng, number % 2, False)[0] for number in range(40)])
    answer = load_predictor(result.spec, result.weights_path, result.sha256).predict(frames)
    polyp = answer.probabilities_BK[:, 0]
    assert polyp[1::2].mean() > polyp[::2].mean() + 0.3
    assert answer.cam_BKhw.shape[2:] == (3, 3)


def test_events_tell_every_stage(trained):
    _, events = trained
    codes = {event.message_code for event in events if isinstance(event, Progress)}
    assert {"decoding", "measuring", "trained"} <= codes
    series = {event.name for event in events if isinstance(event, Metric)}
    assert {"loss", "gradient_norm", "tune_mean_auc", "tune_loss", "pointing_loss"} <= series


def test_a_stopped_run_goes_on_to_the_same_bits(trained, dataset, tmp_path):
    result, _ = trained
    steps = []

    def note(event):
        if isinstance(event, Metric) and event.name == "loss":
            steps.append(event.step)

    stopped = run(dataset, PARAMS, tmp_path, report=note, should_stop=lambda: len(steps) >= 2)
    assert isinstance(stopped, Interrupted)
    assert stopped.step == 20
    resumed = run(dataset, PARAMS, tmp_path, resume_from=stopped.checkpoint)
    assert resumed.sha256 == result.sha256
    assert resumed.metrics == result.metrics


@pytest.mark.parametrize("resume_from", [None, Path("checkpoint")])
def test_a_run_stopped_while_it_decodes_keeps_its_checkpoint(resume_from, dataset, tmp_path):
    stopped = run(dataset, PARAMS, tmp_path, resume_from=resume_from, should_stop=lambda: True)
    assert stopped == Interrupted(resume_from, 0)


def refusal(dataset, work_dir):
    with pytest.raises(TrainingRefused) as refused:
        run(dataset, PARAMS | {"epochs": 1}, work_dir)
    return refused.value.code


def test_one_group_is_refused(tmp_path):
    assert refusal(make_dataset(tmp_path, groups=1), tmp_path) == "too_few_groups"


def test_two_groups_are_refused(tmp_path):
    assert refusal(make_dataset(tmp_path, groups=2), tmp_path) == "too_few_groups"


def blank_content(dataset):
    """Make the content label unknown everywhere, so that only polyp could be learnt."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(dataset / "index.parquet")
    position = table.column_names.index("label:content")
    nothing = pa.nulls(len(table), pa.int8())
    pq.write_table(
        table.set_column(position, table.schema.field(position), nothing), dataset / "index.parquet"
    )
    return dataset


@pytest.mark.parametrize("value", [0, 1, ""])
def test_a_single_class_is_refused(value, tmp_path):
    dataset = blank_content(make_dataset(tmp_path, groups=3, per_group=8, polyp=lambda group, frame: value))
    assert refusal(dataset, tmp_path) == "no_learnable_label"


def test_a_label_without_positives_is_left_out_and_named(tmp_path):
    dataset = make_dataset(tmp_path, groups=3, per_group=8, polyp=lambda group, frame: 0)
    result = run(dataset, PARAMS | {"epochs": 1}, tmp_path)
    assert result.spec.label_names == ("content",)
    assert result.report["not_learnt"] == ["polyp"]


def test_a_label_of_one_group_alone_has_no_evidence(tmp_path):
    dataset = make_dataset(
        tmp_path, groups=4, per_group=8, polyp=lambda group, frame: frame % 2 if group == 2 else 0
    )
    result = run(dataset, PARAMS | {"epochs": 1, "seed": 3}, tmp_path)
    problems = {(problem["code"], problem["label"]) for problem in result.report["split_problems"]}
    assert ("no_disjoint_split", "polyp") in problems
    evidence = {label.name: label.evidence for label in result.spec.labels}
    assert evidence.get("polyp", "none") == "none"
    assert evidence["content"] == "synthetic"


def test_frames_of_people_are_real_evidence(tmp_path):
    dataset = make_dataset(tmp_path, groups=3, per_group=8, fmt="labels-csv")
    result = run(dataset, PARAMS | {"epochs": 1}, tmp_path)
    assert {label.evidence for label in result.spec.labels} == {"real"}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"epochs": 0}, "/epochs"),
        ({"backbone": "lenet"}, "/backbone"),
        ({"backbone_params": {"width": "wide"}}, "/backbone_params/width"),
        ({"backbone_params": {"in_channels": 1}}, "/backbone_params/in_channels"),
        ({"augmentation": {"blur": 2}}, "/augmentation/blur"),
        ({"size_px": 224.0}, "/size_px"),
        ({"backbone": "alexnet", "backbone_params": {}, "size_px": 62}, "/size_px"),
        ({"triplet": {"margin": -1}}, "/triplet/margin"),
        ({"routing": "both"}, "/routing"),
        ({"optimizer": "sgd"}, "/optimizer"),
    ],
)
def test_wrong_parameters_are_refused_where_they_are_wrong(change, pointer, dataset, tmp_path):
    with pytest.raises(SchemaError) as refused:
        run(dataset, PARAMS | change, tmp_path)
    assert refused.value.pointer == pointer


def test_groups_that_share_a_frame_become_one():
    groups = np.array(["a", "a", "b", "b", "c", "d"])
    hashes = np.array(["1", "2", "2", "3", "4", "3"])
    linked = link_groups(groups, hashes)
    assert linked[0] == linked[1] == linked[2] == linked[3] == linked[5]
    assert linked[4] == "c"


def test_the_catalogue_lists_every_recipe_as_json():
    entries = json.loads(json.dumps(catalogue()))
    assert [entry["name"] for entry in entries] == list(RECIPES)
    assert entries[0]["params"]["properties"]["epochs"]["minimum"] == 1


def test_seeds_make_the_run(dataset, tmp_path):
    torch.manual_seed(123)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = run(dataset, PARAMS | {"epochs": 1, "augment": True}, tmp_path / "a")
    second = run(dataset, PARAMS | {"epochs": 1, "augment": True}, tmp_path / "b")
    assert first.sha256 == second.sha256

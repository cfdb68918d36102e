"""The recipe from end to end on frames a few lines of code can draw: a disc, a bar, or neither."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from models.artifacts import ArtifactRefused, ModelSpec, build_module, load_weights
from models.backbones.build import BACKBONES
from models.backbones.shapes import shapes_only
from models.events import Metric
from models.imaging.archive import FolderMembers
from models.imaging.augment import NONE
from models.imaging.classifier import build_image_classifier
from models.imaging.classifier_frames import Side
from models.imaging.classifier_recipe import ImageClassifierParams, evaluate, run
from models.imaging.classifier_spec import fit_slope
from models.imaging.classifier_task import ClassifierSettings, ClassifierTask
from models.imaging.ingest import ingest_frames
from models.imaging.predictor import load_predictor
from models.imaging.prepare import TrainingRefused
from models.imaging.transfer_options import WeightsFile
from models.recipes import RECIPES, measuring
from models.schema import SchemaError
from models.training import Interrupted

SIZE = 48
KINDS = ("disc", "bar", "neither")
PARAMS = {
    "backbone": "resnet10",
    "backbone_params": {"width": 0.125, "output_stride": 16},
    "none_class": "neither",
    "size_px": SIZE,
    "epochs": 8,
    "batch_size": 16,
    "learning_rate": 0.05,
    "augment": False,
    "precision": "float32",
}
CROPPED = {
    "crop": {"side_px": 40, "smallest_frame_px": 44, "largest_frame_px": 56},
    "test_time": "ten-crop",
    "pca_jitter": 0.1,
}


def draw(rng, kind):
    frame = rng.uniform(60, 160) + rng.normal(0, 12, (SIZE, SIZE, 3))
    y, x = np.mgrid[:SIZE, :SIZE]
    if kind == "disc":
        frame[np.hypot(x - rng.integers(14, SIZE - 14), y - rng.integers(14, SIZE - 14)) < 9] += 70
    if kind == "bar":
        frame[:, rng.integers(10, SIZE - 10) :][:, :4] -= 60
    return np.clip(frame, 0, 255).astype(np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def make_dataset(folder, *, groups=6, per_group=18, labels=None, fmt="synthetic", seed=0):
    """`labels` maps (group, frame, kind) to the cells of the columns disc and bar."""
    labels = labels or (lambda group, frame, kind: (int(kind == "disc"), int(kind == "bar")))
    source, out = folder / "source", folder / "dataset"
    (source / "images").mkdir(parents=True)
    out.mkdir()
    rng, rows = np.random.default_rng(seed), []
    for number in range(groups * per_group):
        group, frame = divmod(number, per_group)
        kind = KINDS[frame % 3]
        (source / "images" / f"{number}.png").write_bytes(png(draw(rng, kind)))
        rows.append([f"{number}.png", f"patient-{group}", *labels(group, frame, kind)])
    with (source / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["filename", "group", "disc", "bar"], *rows])
    ingest_frames(FolderMembers(source), fmt, {}, out_dir=out)
    return out


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
    classes = result.metrics["classes"]
    assert result.report["split"]["groups"] == {"train": 4, "tune": 1, "test": 1}
    assert classes["names"] == ["disc", "bar", "neither"]
    assert classes["metrics"]["accuracy"]["value"] >= 0.85
    assert classes["metrics"]["mean_auc"]["value"] >= 0.95
    assert np.sum(classes["confusion"]) == result.metrics["frames"] == 18
    assert np.trace(classes["confusion"]) / 18 == pytest.approx(classes["metrics"]["accuracy"]["value"])
    assert set(result.metrics["labels"]) == set(KINDS)
    assert set(result.metrics["colour_baseline"]) == set(KINDS)
    assert result.report["left_out"] == {"several_positives": 0, "no_positive": 0, "unknown": 0}


def test_the_result_is_json(trained):
    result, _ = trained
    for part in (result.metrics, result.report):
        assert json.loads(json.dumps(part, allow_nan=False)) == part


def test_the_spec_says_what_it_is(trained):
    result, _ = trained
    spec = ModelSpec.from_json(result.spec.to_json())
    assert spec == result.spec
    assert (spec.task, spec.builder.name) == ("image-multiclass", "image-classifier")
    assert {label.name: label.code for label in spec.labels}["neither"] == "NONE"
    assert {label.evidence for label in spec.labels} == {"synthetic"}
    (slope,) = {calibration.slope for calibration in spec.calibration.values()}
    assert slope != 1.0
    assert measuring(spec.builder.name) is RECIPES["image-classifier"]


def test_the_files_give_the_measured_model_back(trained, dataset, tmp_path):
    result, _ = trained
    assert not build_module(result.spec, load_weights(result.weights_path, result.sha256)).training
    again = evaluate(result.weights_path, result.sha256, result.spec, dataset, tmp_path)
    assert (again["frames"], again["without_class"], again["trained_on_it"]) == (108, 0, True)
    assert again["classes"]["metrics"]["accuracy"]["low"] is not None


def test_answers_are_probabilities_that_add_up_to_one(trained):
    result, _ = trained
    rng = np.random.default_rng(5)
    frames = np.stack([draw(rng, KINDS[number % 3]) for number in range(60)])
    answer = load_predictor(result.spec, result.weights_path, result.sha256).predict(frames)
    np.testing.assert_allclose(answer.probabilities_BK.sum(axis=1), 1, rtol=1e-5)
    assert (answer.probabilities_BK.argmax(axis=1) == np.arange(60) % 3).mean() > 0.8
    np.testing.assert_array_equal(answer.positive_BK, answer.probabilities_BK >= 0.5)


def discs_alone(_group, _frame, kind):
    return int(kind == "disc"), ""


def test_another_dataset_is_measured_on_the_classes_it_can_tell(trained, tmp_path):
    result, _ = trained
    other = make_dataset(
        tmp_path, groups=3, per_group=9, seed=9, labels=lambda g, f, kind: (int(kind == "disc"), "")
    )
    metrics = evaluate(result.weights_path, result.sha256, result.spec, other, tmp_path)
    # Bars and frames that show neither are both "not a disc, and nobody knows of bars".
    assert (metrics["frames"], metrics["without_class"]) == (9, 18)
    assert metrics["classes"]["metrics"]["mean_auc"] is None


def test_a_dataset_without_its_classes_is_refused(trained, tmp_path):
    result, _ = trained
    other = make_dataset(tmp_path, groups=3, per_group=3, labels=lambda g, f, kind: ("", ""))
    with pytest.raises(TrainingRefused) as refused:
        evaluate(result.weights_path, result.sha256, result.spec, other, tmp_path)
    assert refused.value.code == "no_learnable_label"


def test_a_stopped_run_with_every_trick_goes_on_to_the_same_bits(dataset, tmp_path):
    params = PARAMS | CROPPED | {
        "epochs": 3, "size_px": 48, "augment": True, "freeze": ["stem"], "unfreeze_after_epoch": 1,
        "rate_decay": 0.8, "log_layer_norms": True, "average_decay": 0.9, "optimiser": "adamw",
    }  # fmt: skip
    (tmp_path / "whole").mkdir()
    whole = run(dataset, params, tmp_path / "whole")
    steps = []

    def note(event):
        if isinstance(event, Metric) and event.name == "gradient_norm/head":
            steps.append(event.step)

    stopped = run(dataset, params, tmp_path, report=note, should_stop=lambda: bool(steps))
    assert isinstance(stopped, Interrupted)
    assert stopped.step == 10
    resumed = run(dataset, params, tmp_path, resume_from=stopped.checkpoint)
    assert resumed.sha256 == whole.sha256
    assert resumed.metrics == whole.metrics
    assert resumed.spec.builder.params["test_time"] == "ten-crop"


def test_a_version_that_answers_from_ten_crops_does_so_when_it_is_loaded(dataset, tmp_path):
    result = run(dataset, PARAMS | CROPPED | {"epochs": 1}, tmp_path)
    module = build_module(result.spec, load_weights(result.weights_path, result.sha256))
    frames = torch.randint(0, 256, (1, 3, SIZE, SIZE), dtype=torch.uint8)
    seen = []
    module.network.register_forward_hook(lambda network, given, out: seen.append(given[0].shape))
    module(frames)
    assert seen == [(10, 3, 40, 40)]


def test_weights_to_start_from_are_loaded_and_recorded(trained, dataset, tmp_path):
    result, _ = trained
    named = {"initial_weights": "image-classifier:1", "epochs": 1, "learning_rate": 0.0}
    given = WeightsFile(result.weights_path, result.sha256)
    again = run(dataset, PARAMS | named, tmp_path, initial_weights=given)
    before, after = (
        load_weights(result.weights_path, result.sha256),
        load_weights(again.weights_path, again.sha256),
    )
    assert torch.equal(before["network.fc.weight"], after["network.fc.weight"])
    assert again.report["initial_weights"] == {"sha256": result.sha256, "fresh": []}


def test_weights_of_another_architecture_are_refused_before_anything_is_learnt(trained, dataset, tmp_path):
    result, _ = trained
    given = WeightsFile(result.weights_path, result.sha256)
    with pytest.raises(ArtifactRefused) as refused:
        run(
            dataset,
            PARAMS | {"initial_weights": "x", "backbone": "resnet18"},
            tmp_path,
            initial_weights=given,
        )
    assert refused.value.code == "weights_mismatch"
    assert not (tmp_path / "frames.npy").exists()


def refusal(dataset, work_dir, **changes):
    with pytest.raises(TrainingRefused) as refused:
        run(dataset, PARAMS | {"epochs": 1} | changes, work_dir)
    return refused.value.code


def test_one_group_is_refused(tmp_path):
    assert refusal(make_dataset(tmp_path, groups=1), tmp_path) == "too_few_groups"


def test_labels_that_are_all_unknown_are_refused(tmp_path):
    dataset = make_dataset(tmp_path, groups=3, per_group=6, labels=lambda g, f, kind: ("", ""))
    assert refusal(dataset, tmp_path) == "no_learnable_label"


def test_a_single_class_is_refused(tmp_path):
    dataset = make_dataset(tmp_path, groups=3, per_group=6, labels=lambda g, f, kind: (1, 0))
    assert refusal(dataset, tmp_path) == "one_class"


def test_frames_without_a_label_are_left_out_unless_their_class_is_named(dataset, tmp_path):
    result = run(dataset, PARAMS | {"epochs": 1, "none_class": None}, tmp_path)
    assert result.spec.label_names == ("disc", "bar")
    assert result.report["left_out"] == {"several_positives": 0, "no_positive": 36, "unknown": 0}


def test_a_class_of_one_group_alone_is_not_learnt_or_has_no_evidence(tmp_path):
    dataset = make_dataset(
        tmp_path,
        groups=5,
        per_group=9,
        labels=lambda g, f, kind: (int(kind == "disc"), int(kind == "bar" and g == 2)),
    )
    result = run(dataset, PARAMS | {"epochs": 1}, tmp_path)
    problems = {(problem["code"], problem["label"]) for problem in result.report["split_problems"]}
    assert ("no_disjoint_split", "bar") in problems
    evidence = {label.name: label.evidence for label in result.spec.labels}
    assert evidence.get("bar", "none") == "none"
    assert "bar" in evidence or result.report["not_learnt"] == ["bar"]


def test_a_tune_side_of_one_class_cannot_choose_an_epoch(tmp_path):
    def labels(group, frame, kind):
        return (1, 0) if group else (int(frame % 2 == 0), int(frame % 2 == 1))

    dataset = make_dataset(tmp_path, groups=3, per_group=6, labels=labels)
    assert refusal(dataset, tmp_path) in {"no_tune_class", "one_class"}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"backbone": "lenet"}, "/backbone"),
        ({"backbone_params": {"in_channels": 1}}, "/backbone_params/in_channels"),
        ({"test_time": "ten-crop"}, "/crop"),
        ({"crop": {"side_px": 64}}, "/size_px"),
        ({"crop": {"side_px": 400}}, "/crop/side_px"),
        ({"backbone": "alexnet", "backbone_params": {}, "size_px": 62}, "/size_px"),
        ({"dropout": 0.5}, "/dropout"),
        ({"freeze": ["layer9"]}, "/freeze"),
        ({"none_class": "disc"}, "/none_class"),
        ({"initial_weights": "name:1"}, "/initial_weights"),
        ({"rate_decay": 0}, "/rate_decay"),
        ({"triplet": {}}, "/triplet"),
    ],
)
def test_wrong_parameters_are_refused_where_they_are_wrong(change, pointer, dataset, tmp_path):
    with pytest.raises(SchemaError) as refused:
        run(dataset, PARAMS | change, tmp_path)
    assert refused.value.pointer == pointer


SIDE = Side(
    np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8), np.arange(8), np.arange(8) % 2
)


def settings(**changes):
    given = {
        "batch_size": 4, "steps_per_epoch": 2, "balanced": False, "crop": None, "augmentation": NONE,
        "colour_axes": None, "pca_jitter": 0.0,
    }  # fmt: skip
    return ClassifierSettings(**given | changes)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_answers_with_its_own_head(backbone):
    with shapes_only():
        module = build_image_classifier(backbone, {}, 3, mean=(0.5,) * 3, std=(0.25,) * 3).eval()
        answer = module(torch.empty(2, 3, 64, 64))
    assert answer.logits_BK.shape == (2, 3)


def test_auxiliary_heads_count_with_their_weight():
    torch.manual_seed(0)
    module = build_image_classifier("googlenet", {}, 2, mean=(0.5,) * 3, std=(0.25,) * 3).eval()
    task = ClassifierTask(
        module, 2, train_side=SIDE, tune_side=SIDE, settings=settings(), device=torch.device("cpu")
    )
    outcome = task.loss(module, np.arange(2))
    frames = torch.from_numpy(SIDE.frames_NHWC[:2]).permute(0, 3, 1, 2)
    all_logits = [logits for _, logits in module.all_logits(frames)]
    heads = [torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])) for logits in all_logits]
    torch.testing.assert_close(outcome.loss, heads[0] + 0.3 * heads[1] + 0.3 * heads[2])
    assert outcome.logs["main_loss"] == pytest.approx(heads[0].item())


def test_balanced_batches_show_each_class_as_often_and_the_others_each_frame():
    classes = np.array([0] * 7 + [1])
    side = Side(SIDE.frames_NHWC, np.arange(8), classes)
    module = build_image_classifier("resnet10", {"width": 0.125}, 2, mean=(0.5,) * 3, std=(0.25,) * 3)

    def plan(balanced):
        task = ClassifierTask(
            module, 2, train_side=side, tune_side=side, settings=settings(balanced=balanced),
            device=torch.device("cpu"),
        )  # fmt: skip
        return np.concatenate(task.batches(0, np.random.default_rng(0)))

    assert np.bincount(classes[plan(balanced=True)]).tolist() == [4, 4]
    assert sorted(plan(balanced=False)) == list(range(8))


def test_a_temperature_undoes_overconfidence():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 4))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    class_N = (probabilities.cumsum(axis=1) > rng.random((len(scores), 1))).argmax(axis=1)
    assert fit_slope(class_N, (5 * scores).astype(np.float32)) == pytest.approx(0.2, rel=0.05)


def test_scores_without_an_error_keep_a_finite_temperature():
    scores = np.eye(3, dtype=np.float32)[[0, 1, 2] * 10]
    assert 1 < fit_slope(np.array([0, 1, 2] * 10), scores) < 20


def test_the_defaults_are_those_of_the_catalogue():
    assert RECIPES["image-classifier"].params is ImageClassifierParams
    ImageClassifierParams()

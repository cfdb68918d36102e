"""The detector in the box: it loads, says what it was measured on, and keeps quiet where nobody measured."""

import hashlib
import json

import numpy as np
import pytest

from models.artifacts import ModelSpec
from models.imaging.calibration import OFF
from models.imaging.predictor import load_predictor
from models.recipes import RECIPES
from models.synthetic.frames import draw_frames
from service.domain.registry import DEFAULT_READERS, check_spec
from service.shipped import FOLDER

MOST_BYTES = 25_000_000
WEIGHTS = FOLDER / "weights.safetensors"


@pytest.fixture(scope="module")
def spec():
    return ModelSpec.from_json((FOLDER / "spec.json").read_bytes())


@pytest.fixture(scope="module")
def metrics():
    return json.loads((FOLDER / "metrics.json").read_bytes())


def test_it_is_small_and_the_registry_takes_it(spec):
    assert WEIGHTS.stat().st_size <= MOST_BYTES
    assert check_spec(json.loads((FOLDER / "spec.json").read_bytes()), "starter-detector")
    assert "CC BY 4.0" in spec.licence


def test_no_training_adds_to_its_model_and_it_reads_where_there_is_none_of_ones_own(spec):
    assert spec.name not in RECIPES
    assert DEFAULT_READERS[0] in RECIPES
    assert spec.name == DEFAULT_READERS[-1]


def test_only_labels_measured_on_real_frames_are_on_by_default(spec, metrics):
    for label in spec.labels:
        assert label.evidence == metrics["labels"][label.name]["evidence"]
        for point in ("balanced", "sensitive", "specific"):
            assert (spec.operating_points[point][label.name] < OFF) is (label.evidence == "real")
        assert spec.operating_points["with-synthetic"][label.name] < OFF
    assert {label.name for label in spec.labels if label.evidence == "real"} == {"bleeding"}


def test_its_figures_are_those_of_every_fold(metrics):
    told = metrics["beyond"]["cross_validation"]
    folds = [fold for seed in told["bleeding_by_seed"].values() for fold in seed]
    assert len(folds) == told["folds"] * len(told["bleeding_by_seed"])
    assert told["mean_auc"] == pytest.approx(np.mean([fold["auc"] for fold in folds]))
    assert told["worst_fold_auc"] == min(fold["auc"] for fold in folds)
    assert set(metrics["beyond"]["false_positives_on_real_frames"]) == set(metrics["labels"])


def test_it_reads_frames(spec):
    sha256 = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    drawn = draw_frames(6, seed=5, domain="test", size=spec.input.size_px)
    frames = np.stack([frame.rgb for frame in drawn])
    answer = load_predictor(spec, WEIGHTS, sha256).predict(frames)
    assert answer.probabilities_BK.shape == (6, 4)
    off = [spec.label_names.index(label.name) for label in spec.labels if label.evidence != "real"]
    assert not answer.positive_BK[:, off].any()

import dataclasses

import numpy as np
import pytest
import torch

from models.artifacts import ArtifactRefused, Calibration, InputContract, save_weights
from models.imaging.detector import build_detector
from models.imaging.predictor import Predictor, load_predictor
from models.imaging.preprocess import KERNEL
from tests.readers import reader_spec

SPEC = reader_spec(
    labels=("polyp", "bleeding"),
    calibration={"polyp": Calibration(2.0, -1.0), "bleeding": Calibration()},
    operating_points={"balanced": {"polyp": 0.5, "bleeding": 0.5}, "all": {"polyp": 0.0, "bleeding": 0.0}},
)


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return build_detector(**SPEC.builder.params, label_count=2).eval()


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)


def test_batches_do_not_change_the_answer(detector, frames):
    whole = Predictor(detector, SPEC, batch_size=7).predict(frames)
    parts = Predictor(detector, SPEC, batch_size=3).predict(frames)
    np.testing.assert_allclose(parts.scores_BK, whole.scores_BK, atol=1e-5)
    np.testing.assert_allclose(parts.cam_BKhw, whole.cam_BKhw, atol=1e-5)


def test_scores_are_the_detectors_logits(detector, frames):
    expected = detector(torch.from_numpy(frames).permute(0, 3, 1, 2)).logits_BK.detach().numpy()
    np.testing.assert_allclose(Predictor(detector, SPEC).predict(frames).scores_BK, expected, atol=1e-5)


def test_probabilities_are_calibrated_scores(detector, frames):
    answer = Predictor(detector, SPEC).predict(frames)
    polyp = 1 / (1 + np.exp(-(2 * answer.scores_BK[:, 0] - 1)))
    bleeding = 1 / (1 + np.exp(-answer.scores_BK[:, 1]))
    np.testing.assert_allclose(answer.probabilities_BK, np.stack([polyp, bleeding], axis=1), rtol=1e-5)


def test_decisions_follow_the_operating_point(detector, frames):
    predictor = Predictor(detector, SPEC)
    balanced = predictor.predict(frames)
    assert balanced.operating_point == "balanced"
    np.testing.assert_array_equal(balanced.positive_BK, balanced.probabilities_BK >= 0.5)
    assert predictor.predict(frames, operating_point="all").positive_BK.all()
    with pytest.raises(KeyError):
        predictor.predict(frames, operating_point="unknown")


def test_a_threshold_of_one_turns_a_label_off(detector, frames):
    sure = dataclasses.replace(
        SPEC,
        calibration={"polyp": Calibration(1.0, 1e4), "bleeding": Calibration(1.0, 1e4)},
        operating_points={"balanced": {"polyp": 1.0, "bleeding": 0.99}},
    )
    answer = Predictor(detector, sure).predict(frames)
    assert (answer.probabilities_BK == 1).all()
    assert answer.positive_BK.tolist() == [[False, True]] * len(frames)


def test_bf16_stays_near_float32(detector, frames):
    full = Predictor(detector, SPEC).predict(frames)
    half = Predictor(detector, dataclasses.replace(SPEC, dtype="bfloat16")).predict(frames)
    assert half.scores_BK.dtype == np.float32
    np.testing.assert_allclose(half.probabilities_BK, full.probabilities_BK, atol=0.02)
    assert not np.array_equal(half.scores_BK, full.scores_BK)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 32, 32, 3), np.uint8),
        np.zeros((1, 3, 64, 64), np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
        np.zeros((1, 64, 64, 3), np.float32),
    ],
)
def test_frames_outside_the_input_contract_are_refused(detector, wrong):
    with pytest.raises(ValueError, match="expected uint8 frames"):
        Predictor(detector, SPEC).predict(wrong)


class SmallMemory(torch.nn.Module):
    """Runs out of CUDA memory above two frames, and remembers the batches it answered."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.answered = inner, []

    def forward(self, frames_BCHW):
        if len(frames_BCHW) > 2:
            raise torch.cuda.OutOfMemoryError
        self.answered.append(len(frames_BCHW))
        return self.inner(frames_BCHW)


def test_a_batch_too_large_for_the_device_is_halved(detector, frames):
    module = SmallMemory(detector)
    answer = Predictor(module, SPEC, batch_size=8).predict(frames)
    assert module.answered == [2, 2, 2, 2]  # the last pass is filled up
    expected = Predictor(detector, SPEC).predict(frames)
    np.testing.assert_allclose(answer.scores_BK, expected.scores_BK, atol=1e-5)


def test_a_predictor_is_loaded_from_the_files_of_a_version(detector, frames, tmp_path):
    path = tmp_path / "weights.safetensors"
    sha256 = save_weights(detector, path)
    expected = Predictor(detector, SPEC).predict(frames)
    answer = load_predictor(SPEC, path, sha256).predict(frames)
    np.testing.assert_array_equal(answer.scores_BK, expected.scores_BK)


@pytest.mark.parametrize(
    "contract",
    [
        InputContract(size_px=64, channels=3, resize_kernel="torch-nearest/1"),
        InputContract(size_px=64, channels=1, resize_kernel=KERNEL, mean=(0.5,), std=(0.25,)),
    ],
    ids=["resized otherwise", "grey"],
)
def test_a_version_trained_on_other_input_is_refused(detector, tmp_path, contract):
    path = tmp_path / "weights.safetensors"
    sha256 = save_weights(detector, path)
    with pytest.raises(ArtifactRefused) as refused:
        load_predictor(dataclasses.replace(SPEC, input=contract), path, sha256)
    assert refused.value.code == "input_contract"

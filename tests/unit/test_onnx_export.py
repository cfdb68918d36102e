"""What leaves as ONNX or MONAI bundle says the same as the version itself, in a process without ours."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from models.artifacts import (
    ArtifactRefused,
    Calibration,
    ModelSpec,
    build_module,
    check_safetensors,
    load_weights,
)
from models.exports import Source, write
from models.imaging.predictor import Predictor
from models.imaging.report import Passport
from tests.readers import LABELS, SMALL, make_reader

pytestmark = pytest.mark.slow

SIDE = 64
# Of float32 on both sides: sums in another order. Maps are sums of many products, hence the larger one.
PROBABILITY_TOLERANCE, SCORE_TOLERANCE = 1e-5, 1e-4


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Source:
    folder = tmp_path_factory.mktemp("version")
    spec, weights, sha256 = make_reader(folder, params=SMALL, size_px=SIDE)
    calibration = {name: Calibration(1.5 + number, -0.5) for number, name in enumerate(LABELS)}
    spec = replace(spec, calibration=calibration)
    passport = Passport("lesion-detector", 3, sha256, weights.stat().st_size, "2026-11-24 12:00 UTC")
    return Source(spec, passport, {}, None, weights)


@pytest.fixture(scope="module")
def bundle(source, tmp_path_factory) -> Path:
    """The unpacked bundle; the ONNX file in it is the one that is exported alone."""
    folder = tmp_path_factory.mktemp("bundle")
    write("monai-bundle", source, folder / "bundle.zip")
    with zipfile.ZipFile(folder / "bundle.zip") as packed:
        packed.extractall(folder)
    return folder / "lesion-detector-3"


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)


def expected(source: Source, frames: np.ndarray):
    module = build_module(source.spec, load_weights(source.weights, source.passport.sha256))
    return Predictor(module, source.spec).predict(frames)


def test_onnx_says_what_torch_says(source, bundle, frames):
    session = onnxruntime.InferenceSession(bundle / "models" / "model.onnx")
    answers = session.run(None, {"frames": frames.transpose(0, 3, 1, 2)})
    found = expected(source, frames)
    logits, probabilities, cam, embedding = answers
    np.testing.assert_allclose(probabilities, found.probabilities_BK, atol=PROBABILITY_TOLERANCE)
    np.testing.assert_allclose(logits, found.scores_BK, atol=SCORE_TOLERANCE)
    np.testing.assert_allclose(cam, found.cam_BKhw, atol=SCORE_TOLERANCE)
    np.testing.assert_allclose(embedding, found.embedding_BD, atol=SCORE_TOLERANCE)


def test_the_batch_may_have_any_size(bundle, frames):
    session = onnxruntime.InferenceSession(bundle / "models" / "model.onnx")
    taken = {
        count: session.run(["logits"], {"frames": frames[:count].transpose(0, 3, 1, 2)})[0]
        for count in (1, 5)
    }
    assert {count: answer.shape for count, answer in taken.items()} == {1: (1, 4), 5: (5, 4)}
    np.testing.assert_allclose(taken[1][0], taken[5][0], atol=SCORE_TOLERANCE)


def test_the_spec_travels_in_the_file(source, bundle):
    stored = onnx.load(bundle / "models" / "model.onnx", load_external_data=False)
    about = {one.key: one.value for one in stored.metadata_props}
    assert ModelSpec.from_json(about["enteron.spec"]) == source.spec
    assert about["enteron.precision"] == "float32"
    assert not [tensor for tensor in stored.graph.initializer if tensor.external_data]


def test_a_bundle_is_what_monai_specifies_without_a_pickle(source, bundle):
    from monai.bundle.utils import DEFAULT_METADATA

    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {"LICENSE", "configs/metadata.json", "configs/inference.json", "docs/README.md"} <= files
    assert not [name for name in files if name.endswith((".pt", ".ts", ".pth", ".pkl"))]
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    assert set(DEFAULT_METADATA) <= set(metadata)
    formats = metadata["network_data_format"]
    assert formats["inputs"]["image"]["spatial_shape"] == [SIDE, SIDE]
    assert list(formats["outputs"]["pred"]["channel_def"].values()) == list(LABELS)
    weights = (bundle / "models/model.safetensors").read_bytes()
    check_safetensors(weights)
    assert weights == source.weights.read_bytes()
    assert ModelSpec.from_json((bundle / "configs/spec.json").read_text()) == source.spec


SCRIPT = """
import sys, warnings
warnings.simplefilter("ignore")
from monai.bundle import run, verify_net_in_out
sys.path.insert(0, ".")
named = dict(meta_file="configs/metadata.json", config_file="configs/inference.json")
verify_net_in_out("network_def", device="cpu", **named)
run(**named)
assert not [name for name in sys.modules if name.partition(".")[0] in ("models", "service", "workers")]
"""


def test_a_process_without_enteron_reads_frames_with_the_bundle(source, bundle, frames, tmp_path):
    (bundle / "frames").mkdir()
    for number, frame in enumerate(frames[:2]):
        Image.fromarray(frame).save(bundle / "frames" / f"{number}.png")
    command = [sys.executable, "-P", "-c", SCRIPT]
    ended = subprocess.run(command, cwd=bundle, env={"PATH": ""}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    written = json.loads((bundle / "findings.json").read_text())
    assert written["notice"] == "Research use. Not for diagnosis."
    found = expected(source, frames[:2])
    for row, one in enumerate(written["frames"]):
        assert one["name"] == f"{row}.png"
        np.testing.assert_allclose(
            list(one["probabilities"].values()), found.probabilities_BK[row], atol=PROBABILITY_TOLERANCE
        )
        assert list(one["positive"].values()) == found.positive_BK[row].tolist()


def test_torn_weights_are_refused(source, tmp_path):
    torn = tmp_path / "weights.safetensors"
    torn.write_bytes(source.weights.read_bytes()[:-4])
    with pytest.raises(ArtifactRefused, match="hash_mismatch"):
        write("onnx", replace(source, weights=torn), tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()

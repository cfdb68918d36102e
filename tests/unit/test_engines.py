"""Engines answer as plain torch does, with equal bits for equal frames, and are refused where they do not."""

import dataclasses
import shutil
import sys
from typing import get_args

import numpy as np
import pytest
import torch

from models.artifacts import ModelSpec
from models.imaging.detector import build_detector
from models.imaging.engines import choose as choosing
from models.imaging.engines import int8
from models.imaging.engines.choose import TOLERANCE, choose, largest_difference
from models.imaging.engines.folded import export, fold_batch_norms
from models.imaging.engines.kinds import KINDS, Answers, EngineRefused, Kind, PassShape
from models.imaging.predictor import Predictor
from service.settings import Engine as EngineSetting
from tests.prerequisites import require
from tests.readers import reader_spec

CPU = torch.device("cpu")
SHAPE = PassShape(frames=3, size_px=64)
PLAIN = Kind("torch", "float32")
SPEC = reader_spec(labels=("polyp", "bleeding"))
SLOW_TO_BUILD = [name for name in KINDS if name.startswith("torch-compiled")]
QUICK = [name for name in KINDS if name not in SLOW_TO_BUILD]


@pytest.fixture(scope="module")
def detector():
    """Norms as after a training: with those of a fresh network folding would change next to nothing."""
    torch.manual_seed(0)
    module = build_detector(**SPEC.builder.params, label_count=2).eval()
    for norm in (part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.running_mean, std=0.1)
        torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, std=0.1)
    return module


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(1).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def reader(detector):
    """A predictor of that engine, made once, or a skip where this machine lacks what it needs."""
    made = {}

    def get(name):
        if name.startswith("openvino"):
            require("module:openvino")
        if name not in made:
            made[name] = Predictor(detector, SPEC, engine=name, batch_size=3)
            assert dict(made[name].choice.refused) == {}
        return made[name]

    return get


@pytest.fixture(scope="module")
def expected(detector, frames):
    return arrays(Predictor(detector, SPEC).predict(frames))


def arrays(found):
    return Answers(found.scores_BK, found.embedding_BD, found.cam_BKhw)


@pytest.mark.parametrize("name", QUICK)
def test_every_engine_answers_as_plain_torch(reader, detector, frames, expected, name):
    found = reader(name).predict(frames)
    library = name.partition("-")[0]
    assert reader(name).choice.engine.version == sys.modules[library].__version__
    assert (found.engine, found.dtype) == KINDS[name]
    assert largest_difference(arrays(found), expected) <= TOLERANCE[found.dtype]
    assert found.cam_BKhw.shape == expected.cam_BKhw.shape
    pooled = found.cam_BKhw.mean(axis=(2, 3)) + detector.head.bias.detach().numpy()
    np.testing.assert_allclose(pooled, found.scores_BK, atol=1e-2)


@pytest.mark.parametrize("name", QUICK)
def test_a_frame_gets_the_same_bits_whatever_it_is_read_with(reader, frames, name):
    predictor = reader(name)
    together = arrays(predictor.predict(frames))
    again = arrays(predictor.predict(frames))
    backwards = arrays(predictor.predict(frames[::-1]))
    alone = arrays(predictor.predict(frames[4:5]))
    for whole, twice, reverse, single in zip(together, again, backwards, alone, strict=True):
        np.testing.assert_array_equal(twice, whole)
        np.testing.assert_array_equal(reverse[::-1], whole)
        np.testing.assert_array_equal(single[0], whole[4])


@pytest.mark.slow
@pytest.mark.needs("command:c++")
def test_the_compiled_engine_answers_as_plain_torch_and_twice_the_same(reader, frames, expected):
    predictor = reader("torch-compiled-bf16")
    found, again = predictor.predict(frames), predictor.predict(frames[::-1])
    assert (found.engine, found.dtype) == ("torch-compiled", "bfloat16")
    assert largest_difference(arrays(found), expected) <= TOLERANCE["bfloat16"]
    np.testing.assert_array_equal(again.scores_BK[::-1], found.scores_BK)


def count_norms(module):
    return sum(isinstance(part, torch.nn.BatchNorm2d) for part in module.modules())


def test_every_norm_of_a_residual_network_is_folded(detector):
    graph = export(detector, SHAPE).module()
    assert fold_batch_norms(graph, torch.float32) == count_norms(detector) > 0
    assert not graph.graph.find_nodes(op="call_function", target=torch.ops.aten.batch_norm.default)


def test_a_norm_before_its_convolution_stays(frames):
    torch.manual_seed(0)
    module = build_detector("resnet18_v2", {"width": 0.125}, 2).eval()
    graph = export(module, SHAPE).module()
    assert 0 < fold_batch_norms(graph, torch.float32) < count_norms(module)
    expected = module(torch.from_numpy(frames[:3]).permute(0, 3, 1, 2))
    np.testing.assert_allclose(
        graph(torch.from_numpy(frames[:3]))[0].detach(), expected[0].detach(), atol=1e-4
    )


def test_auto_takes_one_that_it_timed_and_the_answer_names_it(detector, frames):
    predictor = Predictor(detector, SPEC, engine="auto", batch_size=3)
    timed = predictor.choice.pass_s
    assert {"torch-fp32", "torch-bf16", "torch-folded-fp32"} <= set(timed)
    kind = predictor.choice.engine.kind
    assert timed[str(kind)] <= 1.1 * min(timed.values())
    found = predictor.predict(frames)
    assert (found.engine, found.dtype) == kind


def test_the_spec_decides_unless_told_otherwise(detector, frames):
    own = dataclasses.replace(SPEC, engine="torch-folded", dtype="bfloat16")
    found = Predictor(detector, own).predict(frames)
    assert (found.engine, found.dtype) == ("torch-folded", "bfloat16")


@pytest.mark.parametrize(
    ("refusal", "code"), [(EngineRefused("no_compiler"), "no_compiler"), (RuntimeError("?"), "build_failed")]
)
def test_an_engine_that_cannot_be_had_leaves_plain_torch_and_its_code(detector, monkeypatch, refusal, code):
    def fails(*_):
        raise refusal

    monkeypatch.setitem(choosing.BUILDERS, "torch-folded", fails)
    choice = choose("torch-folded-bf16", PLAIN, detector, SHAPE, CPU)
    assert choice.engine.kind == PLAIN
    assert choice.refused == {"torch-folded-bf16": code}


@pytest.mark.parametrize("wrong", [0.9, np.nan], ids=["off", "not a number"])
def test_an_engine_that_disagrees_is_refused(detector, monkeypatch, wrong):
    class Liar:
        kind = KINDS["torch-folded-fp32"]

        version = "none"

        def __init__(self, engine):
            self.engine = engine

        def __call__(self, frames_BHWC):
            logits, embedding, cam = self.engine(frames_BHWC)
            return Answers(logits, embedding, cam * wrong)

    honest = choosing.BUILDERS["torch-folded"]
    monkeypatch.setitem(choosing.BUILDERS, "torch-folded", lambda *given: Liar(honest(*given)))
    choice = choose("torch-folded-fp32", PLAIN, detector, SHAPE, CPU)
    assert choice.refused == {"torch-folded-fp32": "disagrees"}


def test_without_a_compiler_nothing_is_compiled(detector, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    choice = choose("torch-compiled-fp32", PLAIN, detector, SHAPE, CPU)
    assert choice.refused == {"torch-compiled-fp32": "no_compiler"}


def test_without_the_extra_openvino_is_refused(detector, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    choice = choose("openvino-fp32", PLAIN, detector, SHAPE, CPU)
    assert choice.refused == {"openvino-fp32": "not_installed"}


def test_openvino_sends_no_usage_statistics(reader):
    reader("openvino-fp32")
    assert sys.modules["openvino_telemetry"] is None


def test_settings_and_specs_know_the_engines():
    assert {"spec", "auto", *KINDS} == set(get_args(EngineSetting))
    named = get_args(ModelSpec.__dataclass_fields__["engine"].type)
    assert set(named) == {kind.engine for kind in KINDS.values()}


@pytest.mark.needs("module:nncf")
def test_int8_stays_near_float32_or_is_refused(detector, frames, monkeypatch):
    given = {"calibration_NHWC": frames[:4], "check_NHWC": frames[2:], "pass_frames": 3}
    monkeypatch.setattr(int8, "PROBABILITY_MOVED", 1.0)
    engine, moved = int8.build(detector, SPEC, **given)
    assert engine.kind == ("openvino", "int8")
    assert 0 < moved.probability < 0.2
    assert moved.mean_auc is None
    monkeypatch.setattr(int8, "PROBABILITY_MOVED", moved.probability / 2)
    with pytest.raises(EngineRefused) as refused:
        int8.build(detector, SPEC, **given)
    assert refused.value.code == "less_accurate"


def test_what_int8_cost_is_the_mean_over_labels_that_can_be_judged():
    labels_NK = np.array([[0, 1], [0, 1], [1, 1], [1, -1]], np.int8)
    before_NK = np.array([[0.1, 0.5], [0.2, 0.5], [0.3, 0.5], [0.4, 0.5]], np.float32)
    after_NK = before_NK.copy()
    after_NK[2, 0] = 0.15  # below one of the two negatives: a quarter of the pairs is now wrong
    moved = int8.measure(after_NK, before_NK, labels_NK)
    assert moved.mean_auc == pytest.approx(0.25)
    assert 0.1 < moved.probability <= 0.15


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["torch-fp32", "torch-bf16"])
def test_the_device_answers_as_the_cpu(detector, frames, name):
    found = Predictor(detector, SPEC, device="cuda", engine=name, batch_size=3).predict(frames)
    expected = Predictor(detector, SPEC).predict(frames)
    assert largest_difference(arrays(found), arrays(expected)) <= TOLERANCE["bfloat16"]


@pytest.mark.gpu
def test_on_a_device_auto_chooses_a_precision_of_plain_torch(detector):
    choice = choose("auto", PLAIN, detector, SHAPE, torch.device("cuda"))
    assert set(choice.pass_s) == {"torch-fp32", "torch-bf16"}


@pytest.mark.gpu
def test_what_runs_on_the_cpu_alone_is_refused_on_a_device(detector):
    choice = choose("torch-folded-fp32", PLAIN, detector, SHAPE, torch.device("cuda"))
    assert choice.refused == {"torch-folded-fp32": "not_on_this_device"}

"""What reads is named to whoever asks for a reading, and told once to the worker's log."""

from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.store.findings import Weights
from tests.readers import make_reader
from workers import runner_ops, weights
from workers.operations import Request


def ask(operation, header, *buffers):
    return operation(Request(header, list(buffers), lambda _event: None, lambda: False))


@pytest.fixture
def model(tmp_path):
    spec, path, sha256 = make_reader(tmp_path)
    return {
        "spec": spec.to_json(),
        "weights": str(path),
        "sha256": sha256,
        "device": "cpu",
        "engine": "torch-folded-bf16",
    }


def test_an_answer_names_what_read_it(model):
    header, _ = ask(
        runner_ops.predict, {"model": model, "sizes_px": [[64, 64]]}, np.zeros(64 * 64 * 3, np.uint8)
    )
    read_by = header["engine"]
    assert (read_by["engine"], read_by["dtype"], read_by["device"]) == ("torch-folded", "bfloat16", "cpu")


def test_loading_tells_once_what_was_built(model):
    first, _ = ask(runner_ops.load, {"model": model})
    again, _ = ask(runner_ops.load, {"model": model})
    assert first["built"]["refused"] == {}
    assert again == {"engine": "torch-folded", "dtype": "bfloat16", "built": None}


def test_the_log_says_what_reads_and_what_cannot_be_had(tmp_path):
    asked = []
    answer = {
        "engine": "torch",
        "dtype": "float32",
        "built": {"build_s": 0.1, "pass_s": {}, "refused": {"openvino-bf16": "not_installed"}},
    }
    job = SimpleNamespace(
        settings=SimpleNamespace(home=tmp_path, device="cpu", engine="openvino-bf16"),
        runner=SimpleNamespace(call=lambda _op, header, **_: (asked.append(header) or answer, [])),
    )
    stored = Weights(UUID(int=1), "lesion-detector", 1, {}, "key", "0" * 64)
    cache = tmp_path / "cache" / "weights"
    cache.mkdir(parents=True)
    (cache / f"{stored.sha256}.safetensors").touch()
    with capture_logs() as lines:
        weights.load(stored, job)
    assert asked[0]["model"]["engine"] == "openvino-bf16"
    told = [(line["event"], line["engine"], line.get("code")) for line in lines]
    assert told == [("engine_refused", "openvino-bf16", "not_installed"), ("model_ready", "torch", None)]

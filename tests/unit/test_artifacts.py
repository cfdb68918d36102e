import hashlib
import json
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import artifacts
from models.artifacts import (
    ArtifactRefused,
    Builder,
    InputContract,
    ModelSpec,
    build_module,
    check_safetensors,
    load_weights,
    save_tensors,
    save_weights,
)
from models.schema import SchemaError, encode
from tests.readers import reader_spec


def make_spec(**changes):
    return reader_spec(labels=("polyp", "bleeding"), **changes)


def safetensors_file(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def tensor(begin, stop, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, stop]}


def refusal(function, *arguments):
    with pytest.raises(ArtifactRefused) as refused:
        function(*arguments)
    return refused.value.code


def test_a_spec_survives_json():
    spec = make_spec()
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert ModelSpec.from_json(spec.to_json()).to_json() == spec.to_json()


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"surprise": 1}, "/surprise"),
        ({"task": "image-captions"}, "/task"),
        ({"labels": []}, "/labels"),
        ({"calibration": {}}, "/calibration"),
        ({"operating_points": {"balanced": {"polyp": 0.5}}}, "/operating_points/balanced"),
        ({"operating_points": {"balanced": {"polyp": 0.5, "bleeding": 1.5}}}, "/operating_points/balanced"),
        ({"default_operating_point": "other"}, "/default_operating_point"),
        ({"schema_version": 2}, "/schema_version"),
        ({"calibration": {"polyp": {"slope": -1.0}, "bleeding": {}}}, "/calibration/polyp/slope"),
    ],
)
def test_a_wrong_spec_is_refused_where_it_is_wrong(change, pointer):
    with pytest.raises(ArtifactRefused) as refused:
        ModelSpec.from_json(json.dumps(encode(make_spec()) | change))
    assert refused.value.code == "spec_invalid"
    assert refused.value.message.startswith(pointer + ":")


@pytest.mark.parametrize("text", ["", "[", b"\xff", '{"a": 1, "a": 2}', "[" * 100_000])
def test_a_spec_that_is_not_json_is_refused(text):
    assert refusal(ModelSpec.from_json, text) == "spec_not_json"


def test_an_input_contract_of_another_range_is_refused():
    with pytest.raises(SchemaError, match="value_range"):
        InputContract(size_px=64, channels=3, resize_kernel="area", value_range=(0.0, 1.0))


def test_an_input_contract_needs_constants_for_every_channel():
    with pytest.raises(SchemaError):
        InputContract(size_px=64, channels=1, resize_kernel="area")


def test_weights_survive_the_file_and_its_hash_is_the_files(tmp_path):
    module, path = torch.nn.Linear(3, 2), tmp_path / "weights.safetensors"
    sha256 = save_weights(module, path)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = load_weights(path, sha256)
    assert all(torch.equal(loaded[name], value) for name, value in module.state_dict().items())
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_one_changed_bit_is_noticed(tmp_path):
    path = tmp_path / "weights.safetensors"
    sha256 = save_weights(torch.nn.Linear(3, 2), path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert refusal(load_weights, path, sha256) == "hash_mismatch"


def test_weights_that_are_not_finite_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    sha256 = save_tensors({"weight": torch.tensor([1.0, float("nan")])}, path)
    assert refusal(load_weights, path, sha256) == "not_finite"


def test_weights_above_the_limit_are_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    sha256 = save_weights(torch.nn.Linear(3, 2), path)
    monkeypatch.setattr(artifacts, "FILE_LIMIT_BYTES", path.stat().st_size - 1)
    assert refusal(load_weights, path, sha256) == "too_large"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_safetensors"),
        (b"PK\x03\x04" + b"\x00" * 60, "header_too_large"),
        (struct.pack("<Q", 2**63), "header_too_large"),
        (struct.pack("<Q", 100) + b"{}", "not_safetensors"),
        (safetensors_file(b"[]"), "not_safetensors"),
        (safetensors_file(b'{"a": {}, "a": {}}'), "not_safetensors"),
        (safetensors_file(b"[" * 100_000), "not_safetensors"),
        (safetensors_file({"a": {}}), "layout"),
        (safetensors_file({"a": 3}), "layout"),
        (safetensors_file({"a": tensor(0, 4, [1])}), "layout"),
        (safetensors_file({"a": tensor(0, 4, [1])}, b"\0" * 5), "layout"),
        (safetensors_file({"a": tensor(4, 8, [1])}, b"\0" * 8), "layout"),
        (safetensors_file({"a": tensor(0, 4, [1]), "b": tensor(0, 4, [1])}, b"\0" * 4), "layout"),
        (safetensors_file({"a": tensor(0, 4, [1]), "b": tensor(8, 12, [1])}, b"\0" * 12), "layout"),
        (safetensors_file({"a": tensor(0, 4, [2])}, b"\0" * 4), "layout"),
        (safetensors_file({"a": tensor(0, 4, [-1, -1])}, b"\0" * 4), "layout"),
        (safetensors_file({"a": tensor(0, 4, [1.0])}, b"\0" * 4), "layout"),
        (safetensors_file({"a": tensor(0, 4, [1], "OBJECT")}, b"\0" * 4), "layout"),
    ],
)
def test_a_malformed_file_is_refused_before_it_is_parsed(data, code):
    assert refusal(check_safetensors, data) == code


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_and_nothing_else(data):
    with pytest.raises(ArtifactRefused):
        check_safetensors(data)


def test_a_module_is_built_from_its_spec_and_weights():
    module = build_module(make_spec(), build_state(2))
    assert not module.training
    assert module(torch.zeros(1, 3, 64, 64)).logits_BK.shape == (1, 2)


def build_state(label_count):
    return artifacts.build_detector("resnet10", {"width": 0.125}, label_count).state_dict()


@pytest.mark.parametrize(
    ("builder", "code"),
    [
        (Builder("unheard-of", {}), "unknown_builder"),
        (Builder("lesion-detector", {"backbone": "resnet10"}), "builder_params"),
        (Builder("lesion-detector", {"backbone": "alexandria", "backbone_params": {}}), "unknown_backbone"),
        (
            Builder("lesion-detector", {"backbone": "resnet10", "backbone_params": {"depth": 3}}),
            "builder_params",
        ),
        (
            Builder("lesion-detector", {"backbone": "resnet18", "backbone_params": {"width": 0.125}}),
            "weights_mismatch",
        ),
    ],
)
def test_a_builder_that_does_not_fit_is_refused(builder, code):
    assert refusal(build_module, make_spec(builder=builder), build_state(2)) == code


@pytest.mark.parametrize(
    ("builder", "advice"),
    [
        (Builder("unheard-of", {}), "lesion-detector"),
        (Builder("lesion-detector", {"backbone": "alexandria", "backbone_params": {}}), "resnet18"),
        (Builder("lesion-detector", {"backbone": "resnet10", "backbone_params": {"width": 99}}), "/width"),
    ],
)
def test_a_refusal_says_what_would_be_accepted_and_repeats_nothing(builder, advice):
    with pytest.raises(ArtifactRefused) as refused:
        build_module(make_spec(builder=builder), build_state(2))
    assert advice in refused.value.message
    assert not {"unheard-of", "alexandria", "99"} & set(refused.value.message.replace(":", " ").split())


def test_weights_of_another_label_count_are_refused():
    assert refusal(build_module, make_spec(), build_state(3)) == "weights_mismatch"

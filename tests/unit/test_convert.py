"""What becomes of a `.pth`, in this process; `tests/integration/test_convert.py` has the confined one."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from workers.convert import ConversionRefused, convert

Refusal = Callable[[Any], ConversionRefused]


def save(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.fixture
def refusal(tmp_path: Path) -> Refusal:
    """What is said of a file; a target must never appear."""

    def refused(content: Any) -> ConversionRefused:
        source = tmp_path / "weights.pth"
        source.write_bytes(content) if isinstance(content, bytes) else save(source, content)
        with pytest.raises(ConversionRefused) as told:
            convert(source, tmp_path / "weights.safetensors")
        assert list(tmp_path.iterdir()) == [source]
        return told.value

    return refused


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("wrap", ["plain", "parallel", "nested", "both"])
def test_wrappers_are_taken_off(wrap: str, legacy: bool, tmp_path: Path) -> None:
    state: dict[str, Any] = {"conv1.weight": torch.arange(6.0).view(2, 3), "bn1.count": torch.tensor(7)}
    given = (
        {f"module.{key}": value for key, value in state.items()} if wrap in {"parallel", "both"} else state
    )
    if wrap in {"nested", "both"}:
        given = {"epoch": 90, "arch": "resnet18", "state_dict": given, "optimizer": {"lr": 0.1}}
    source = save(tmp_path / "a.pth", given, _use_new_zipfile_serialization=not legacy)
    convert(source, tmp_path / "a.safetensors")
    loaded = load_file(tmp_path / "a.safetensors")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_tensors_that_share_memory_are_written_apart(tmp_path: Path) -> None:
    shared = torch.arange(12.0).view(3, 4)
    source = save(tmp_path / "a.pth", {"a": shared, "b": shared.T, "c": torch.nn.Parameter(shared[1:])})
    convert(source, tmp_path / "a.safetensors")
    loaded = load_file(tmp_path / "a.safetensors")
    assert torch.equal(loaded["b"], shared.T)
    assert torch.equal(loaded["c"], shared[1:])


def test_a_compressed_archive_is_not_unfolded(refusal: Refusal) -> None:
    plain, packed = io.BytesIO(), io.BytesIO()
    torch.save({"weight": torch.zeros(1 << 20)}, plain)
    with zipfile.ZipFile(plain) as given, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as taken:
        for name in given.namelist():
            taken.writestr(name, given.read(name))
    assert len(packed.getvalue()) < 1 << 16
    assert refusal(packed.getvalue()).code == "compressed"


def test_a_tensor_that_claims_to_be_huge_is_refused_before_it_is_copied(refusal: Refusal) -> None:
    assert refusal({"weight": torch.zeros(1).expand(1 << 20, 1 << 20)}).code == "too_large"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"weight": torch.zeros(2), "epoch": 3}, "'epoch'"),
        ({3: torch.zeros(2)}, "named tensor"),
        ([torch.zeros(2)], "no mapping"),
        ({}, "no tensors"),
        ({"state_dict": {}}, "no tensors"),
        ({"weight": torch.zeros(2, dtype=torch.complex64)}, "of a kind"),
        ({"weight": torch.eye(3).to_sparse()}, "of a kind"),
        (b"", "tensors and plain values alone"),
        (b"PK\x03\x04 and no archive", "tensors and plain values alone"),
        (b"\x80\x02" + b"(" * 100_000, "tensors and plain values alone"),
    ],
)
def test_what_is_no_state_dict_is_refused_with_a_sentence(content: Any, said: str, refusal: Refusal) -> None:
    assert said in str(refusal(content))

"""The one place that reads a `.pth`: a state dict becomes safetensors, in a process that gives up its rights.

`python -m workers.convert FROM TO` prints one line of JSON. A `.pth` is a pickle, that is a program: torch's
restricted reader runs none but its own few constructors (`weights_only`), and this process has no network,
can start no other and has limits of memory and processor time, should that reader have a hole.
"""

import hashlib
import json
import os
import sys
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers import confinement

# A new namespace wants a process without threads, and torch starts some: so this comes first.
_NAMESPACE = confinement.leave_network() if __name__ == "__main__" else False

import torch  # noqa: E402 - see above
from safetensors.torch import save  # noqa: E402

FILE_LIMIT_BYTES = 2 << 30
# Beside what torch itself has mapped: the file, its tensors, and the bytes that are written.
_MEMORY_BYTES = 3 * FILE_LIMIT_BYTES
_CPU_S = 120
_NO_MEMORY = "Its tensors need more memory than a conversion may have."
_NESTED_UNDER = ("state_dict", "model_state_dict", "model")
_PARALLEL = "module."  # what torch's parallel wrappers put before each name
_DTYPES = frozenset(
    {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8}
    | {torch.int64, torch.int32, torch.int16, torch.int8}
)


class ConversionRefused(ValueError):
    """The file is no state dict that can be converted; `code` is from a closed list."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def main() -> None:
    source, target = (Path(argument) for argument in sys.argv[1:3])
    warnings.simplefilter("ignore")  # torch has opinions on old pickles
    torch.set_num_threads(1)
    confinement.limit_resources(_mapped_bytes() + _MEMORY_BYTES)
    confinement.allow_cpu(_CPU_S)
    seccomp = confinement.forbid_syscalls()
    try:
        if not (_NAMESPACE or seccomp):
            raise ConversionRefused("no_isolation", "The kernel lets nothing be shut in; convert elsewhere.")
        answer = convert(source, target)
    except ConversionRefused as refused:
        answer = {"refused": refused.code, "detail": str(refused)}
    except OSError as problem:
        answer = {"refused": "not_written", "detail": f"{problem.strerror}."}
    except MemoryError:
        answer = {"refused": "too_large", "detail": _NO_MEMORY}
    sys.stdout.write(json.dumps(answer) + "\n")


def convert(source: Path, target: Path) -> dict[str, Any]:
    """Write the state dict of `source` to `target`: whole, or not at all.

    Returns:
        `{"tensors", "size", "sha256"}`.

    Raises:
        ConversionRefused: see `read_state` and `plain_tensors`.
        OSError: a file cannot be read or written.
    """
    tensors = plain_tensors(read_state(source))
    data = save(tensors)
    partial = target.with_name(target.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return {"tensors": len(tensors), "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def read_state(source: Path) -> Mapping[str, Any]:
    """The mapping of names to tensors in the file, at its top or under a usual name.

    Raises:
        ConversionRefused: `too_large`, `compressed`, `not_weights_only`, `not_a_state_dict`.
    """
    if source.stat().st_size > FILE_LIMIT_BYTES:
        raise ConversionRefused("too_large", f"The file has more than {FILE_LIMIT_BYTES} bytes.")
    _refuse_compressed(source)
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken or hostile pickle provokes
        if isinstance(error, MemoryError) or "memory" in str(error):  # torch's allocator has no class for it
            raise ConversionRefused("too_large", _NO_MEMORY) from error
        raise ConversionRefused(
            "not_weights_only", "It is no file of torch.save that holds tensors and plain values alone."
        ) from error
    if not isinstance(content, Mapping):
        raise ConversionRefused("not_a_state_dict", "It holds no mapping of names to tensors.")
    nested = next((content[name] for name in _NESTED_UNDER if isinstance(content.get(name), Mapping)), None)
    return content if nested is None else nested


def plain_tensors(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors by their names in a single network, each with memory of its own.

    Raises:
        ConversionRefused: `not_a_state_dict`, `dtype` or `too_large`.
    """
    for number, (name, value) in enumerate(state.items()):
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ConversionRefused(
                "not_a_state_dict", f"Entry {number} ({name!r:.80}) is not a named tensor."
            )
        if value.dtype not in _DTYPES or value.layout != torch.strided or value.is_quantized:
            raise ConversionRefused("dtype", f"Entry {number} ({name!r:.80}) is of a kind that is not taken.")
    if not state:
        raise ConversionRefused("not_a_state_dict", "It holds no tensors.")
    # Before any is copied: a tensor may claim a size that its few bytes are only repeated to fill.
    if sum(value.numel() * value.element_size() for value in state.values()) > FILE_LIMIT_BYTES:
        raise ConversionRefused("too_large", f"Its tensors have more than {FILE_LIMIT_BYTES} bytes.")
    wrapped = all(name.startswith(_PARALLEL) for name in state)
    return {
        name.removeprefix(_PARALLEL) if wrapped else name: value.detach().clone().contiguous()
        for name, value in state.items()
    }


def _refuse_compressed(source: Path) -> None:
    """torch.save stores its members as they are; one that is compressed could unfold to any size."""
    if not zipfile.is_zipfile(source):
        return  # the form before torch 1.6
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ConversionRefused("not_weights_only", "It is a broken zip archive.") from error
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ConversionRefused("compressed", "It is a compressed archive, which torch.save does not write.")


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()

"""Which device and which precision: detected, timed for about a second, and recorded."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)
Dtype = Literal["float32", "bfloat16"]
Precision = Literal["auto", "float32", "bfloat16"]

# Below this gain the extra rounding is not worth it, and timing noise would flip the choice.
_WORTHWHILE_GAIN = 1.2


@dataclass(frozen=True)
class DtypeTiming:
    """The precision chosen for a device, and the medians behind it: seconds per step of a small net."""

    device: str
    dtype: Dtype
    float32_s: float
    bfloat16_s: float


def pick_device(preference: Literal["auto", "cpu", "cuda"] = "auto") -> torch.device:
    """The device to use; "auto" takes CUDA where there is one.

    Raises:
        RuntimeError: "cuda" was demanded and there is none.
    """
    available = torch.cuda.is_available()
    if preference == "cuda" and not available:
        raise RuntimeError("no CUDA device here")
    return torch.device("cuda" if available and preference != "cpu" else "cpu")


def described(device: torch.device) -> dict[str, str | int]:
    """What equal bits depend on: kind of device and its instructions, threads, and the build of torch."""
    on_gpu = device.type == "cuda"
    processor = torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability()
    return {
        "device": device.type,
        "processor": processor,
        "threads": torch.get_num_threads(),
        "build": torch.__version__,
    }


def place(module: ModuleT, device: torch.device) -> ModuleT:
    """Move a module to a device, convolution weights in channels-last order (about twice as fast)."""
    moved = module.to(device)
    return moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return] # not in the stubs


def autocast(device: torch.device, dtype: Dtype) -> AbstractContextManager[object]:
    """Mixed precision for the forward pass; does nothing for float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16")


@cache
def fastest_dtype(device: torch.device, *, budget_s: float = 1.0) -> DtypeTiming:
    """Time float32 against bfloat16 in turns on a small convolution net and choose.

    bf16 pays only where the processor has the instructions, and flags do not tell how well; so it is timed.
    """
    step = _reference_step(device)
    seconds: dict[Dtype, list[float]] = {"float32": [], "bfloat16": []}
    for dtype in seconds:  # warm-up, discarded
        step(dtype)
    deadline = time.perf_counter() + budget_s
    while time.perf_counter() < deadline or not seconds["bfloat16"]:
        for dtype, measured in seconds.items():
            started = time.perf_counter()
            step(dtype)
            measured.append(time.perf_counter() - started)
    float32_s, bfloat16_s = (sorted(measured)[len(measured) // 2] for measured in seconds.values())
    chosen: Dtype = "bfloat16" if float32_s > _WORTHWHILE_GAIN * bfloat16_s else "float32"
    return DtypeTiming(str(device), chosen, float32_s, bfloat16_s)


def _reference_step(device: torch.device) -> Callable[[Dtype], None]:
    with torch.random.fork_rng(devices=[]):  # a timing must not move the training's random numbers
        layers = [nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()] * 2
        module = place(nn.Sequential(*layers), device)
    # Not constant: behind a batch norm that gives denormal numbers, which no training meets.
    frames_BCHW = torch.linspace(-1, 1, 8 * 32 * 56 * 56, device=device).view(8, 32, 56, 56)

    def step(dtype: Dtype) -> None:
        with autocast(device, dtype):
            loss = module(frames_BCHW).float().square().mean()
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


@contextmanager
def deterministic(enabled: bool) -> Iterator[None]:
    """Within: only algorithms that give equal bits for equal seeds, on this device and build."""
    if enabled:
        # cuBLAS reads it when its first handle is made; without it CUDA refuses to be deterministic.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(enabled or before, warn_only=False)
    torch.backends.cudnn.benchmark = not enabled
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark

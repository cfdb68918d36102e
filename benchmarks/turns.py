"""Timing in turns: every candidate once per round, the order reversed each time."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def take_turns(
    candidates: Mapping[str, Callable[[], object]], *, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Wall and processor seconds of each call, round by round; the first round is warm-up and dropped."""
    wall: dict[str, list[float]] = {name: [] for name in candidates}
    processor: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    for _ in range(rounds + 1):
        for name in order:
            started, used = time.perf_counter(), time.process_time()
            candidates[name]()
            wall[name].append(time.perf_counter() - started)
            processor[name].append(time.process_time() - used)
        order.reverse()
    return _without_first(wall), _without_first(processor)


def _without_first(seconds: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {name: values[1:] for name, values in seconds.items()}


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, _, high = quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {"median": median(values), "lower_quartile": low, "upper_quartile": high}


def ratios(slower: list[float], faster: list[float]) -> dict[str, float]:
    """How many times as fast, round by round."""
    return spread([a / b for a, b in zip(slower, faster, strict=True)])


def machine() -> dict[str, Any]:
    """Where the figures come from; a load over the number of cores tells about the neighbours."""
    info = Path("/proc/cpuinfo").read_text()
    names = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    known = set(info.split())
    return {
        "cores": os.cpu_count(),
        "processor": names[0] if names else platform.processor(),
        "flags": [flag for flag in _FLAGS if flag in known],
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
    }

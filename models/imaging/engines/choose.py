"""Which engine reads: the spec's, a named one, or the fastest here; what fails is refused with a code."""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from torch import nn

from models.imaging.engines import eager, folded, vino
from models.imaging.engines.kinds import (
    KINDS,
    Answers,
    Engine,
    EngineName,
    EngineRefused,
    Frames,
    Kind,
    PassShape,
)

SPEC, AUTO = "spec", "auto"
# Largest difference from plain float32 on random frames, as a share of the largest value (docs/engines.md).
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05}
# Compiling takes minutes of a busy machine: it happens only where somebody asks for it.
_AUTO: tuple[EngineName, ...] = ("torch", "torch-folded", "openvino")
# Below this gain the slower, simpler engine stays: timing noise would flip the choice.
_WORTHWHILE_GAIN = 1.1

Build = Callable[[nn.Module, Kind, PassShape, torch.device], Engine]
BUILDERS: Mapping[EngineName, Build] = {
    "torch": eager.build,
    "torch-folded": folded.build_folded,
    "torch-compiled": folded.build_compiled,
    "openvino": vino.build,
}


@dataclass(frozen=True)
class Choice:
    """The engine that reads, and why.

    Attributes:
        engine: built and warm.
        build_s: how long it took to build.
        pass_s: median seconds of a pass of each engine that was timed, by name; empty where none was.
        refused: code of each engine that was tried and not taken, by name.
    """

    engine: Engine
    build_s: float
    pass_s: Mapping[str, float]
    refused: Mapping[str, str]


def choose(
    wanted: str,
    own: Kind,
    module: nn.Module,
    shape: PassShape,
    device: torch.device,
    *,
    budget_s: float = 1.0,
) -> Choice:
    """Build the engine for a module; plain torch in the spec's precision where it cannot be had.

    Args:
        wanted: "spec", "auto" or one of `KINDS`.
        own: the spec's engine and precision.
        module: the detector, on the CPU; plain torch takes it over.
        shape: of every pass.
        device: CUDA has plain torch alone.
        budget_s: how long each candidate is timed where there are several.

    Raises:
        KeyError: no such engine.
    """
    plain = Kind("torch", own.dtype)
    kinds = _candidates(wanted, own, device)
    if kinds == [plain]:
        started = time.perf_counter()
        return Choice(eager.build(module, plain, shape, device), time.perf_counter() - started, {}, {})
    judge = _Judge(module, shape, device)
    built, seconds, refused = {}, {}, {}
    for kind in kinds:
        started = time.perf_counter()
        try:
            built[kind] = judge.approved(kind)
        except EngineRefused as refusal:
            refused[str(kind)] = refusal.code
        seconds[kind] = time.perf_counter() - started
    if not built:
        return Choice(eager.build(module, plain, shape, device), 0.0, {}, refused)
    timed = time_passes(built, judge.frames_BHWC, budget_s=budget_s) if len(built) > 1 else {}
    best = _fastest(timed) if timed else next(iter(built))
    return Choice(built[best], seconds[best], {str(kind): value for kind, value in timed.items()}, refused)


def time_passes(
    engines: Mapping[Kind, Callable[[Frames], Answers]], frames_BHWC: Frames, *, budget_s: float
) -> dict[Kind, float]:
    """Median seconds of a pass of each engine; they take turns, so that a busy machine is busy for all."""
    seconds: dict[Kind, list[float]] = {kind: [] for kind in engines}
    deadline = time.perf_counter() + budget_s * len(engines)
    order = list(engines)
    while time.perf_counter() < deadline or len(seconds[order[0]]) < 2:
        for kind in order:
            started = time.perf_counter()
            engines[kind](frames_BHWC)
            seconds[kind].append(time.perf_counter() - started)
        order.reverse()
    return {kind: median(values) for kind, values in seconds.items()}


def largest_difference(found: Answers, expected: Answers) -> float:
    """Over logits, embedding and maps: largest difference as a share of the largest value; NaN stays NaN."""
    shares = [
        np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-6) for a, b in zip(found, expected, strict=True)
    ]
    return float(np.max(shares))


class _Judge:
    """Builds engines for copies of one module, and takes those that answer as plain float32 does."""

    def __init__(self, module: nn.Module, shape: PassShape, device: torch.device) -> None:
        self._module, self._shape, self._device = module, shape, device
        self.frames_BHWC = np.random.default_rng(0).integers(0, 256, shape.tuple, dtype=np.uint8)
        reference = eager.build(deepcopy(module), Kind("torch", "float32"), shape, device)
        self._expected = reference(self.frames_BHWC)

    def approved(self, kind: Kind) -> Engine:
        try:
            engine = BUILDERS[kind.engine](deepcopy(self._module), kind, self._shape, self._device)
            found = engine(self.frames_BHWC)
        except EngineRefused:
            raise
        except Exception as problem:  # of any of several libraries: the next candidate reads instead
            raise EngineRefused("build_failed", type(problem).__name__) from problem
        if not largest_difference(found, self._expected) <= TOLERANCE[kind.dtype]:
            raise EngineRefused("disagrees")
        return engine


def _candidates(wanted: str, own: Kind, device: torch.device) -> Sequence[Kind]:
    if wanted == SPEC:
        return [own]
    if wanted != AUTO:
        return [KINDS[wanted]]
    engines = _AUTO if device.type == "cpu" else ("torch",)
    return [kind for kind in KINDS.values() if kind.engine in engines]


def _fastest(timed: Mapping[Kind, float]) -> Kind:
    """The fastest, unless a candidate before it is nearly as fast: simpler ones come first."""
    limit = min(timed.values()) * _WORTHWHILE_GAIN
    return next(kind for kind, seconds in timed.items() if seconds <= limit)

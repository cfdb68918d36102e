"""Optimisers, learning-rate schedules and weight averaging, in forms whose whole state fits a checkpoint."""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import nn

from models.backbones.stages import parameters_by_stage
from models.schema import JsonObject

OptimiserName = Literal["sgd", "adamw"]
ScheduleName = Literal["constant", "cosine", "one-cycle", "step", "plateau"]

_ONE_CYCLE_RISE = 0.3  # Smith and Topin 2018: rise for 30 % of the run, from 1/25 of the peak
_ONE_CYCLE_START = 1 / 25
_STEP_POINTS = (0.5, 0.75)  # He et al. 2016, CIFAR-10: a tenth at half and at three quarters
_PLATEAU_PATIENCE = 2


def make_optimiser(
    module: nn.Module,
    name: OptimiserName,
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    rate_decay: float = 1.0,
) -> torch.optim.Optimizer:
    """SGD with momentum (v <- m v + g; w <- w - rate v), or AdamW.

    Vectors (biases, norm scales) get no weight decay. Each group says in `rate_factor` by what the rate of a
    step is multiplied: with a `rate_decay` below 1, by its power per stage below the head, so that what
    was learnt elsewhere moves least where it is most general (Howard and Ruder 2018, section 3.2).
    """
    groups = [group for group in _groups(module, weight_decay, rate_decay) if group["params"]]
    for group in groups:
        group["lr"] = learning_rate * group["rate_factor"]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum)
    return torch.optim.AdamW(groups, lr=learning_rate)


def _groups(module: nn.Module, weight_decay: float, rate_decay: float) -> Iterator[dict[str, Any]]:
    stages = [list(module.parameters())] if rate_decay == 1 else [*parameters_by_stage(module).values()]
    for below_head, stage in enumerate(reversed(stages)):
        trainable = [parameter for parameter in stage if parameter.requires_grad]
        factor = rate_decay**below_head
        matrices = [item for item in trainable if item.ndim > 1]
        vectors = [item for item in trainable if item.ndim <= 1]
        yield {"params": matrices, "weight_decay": weight_decay, "rate_factor": factor}
        yield {"params": vectors, "weight_decay": 0.0, "rate_factor": factor}


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Its per-parameter tensors as `<parameter number>.<name>`, on the CPU."""
    state: Mapping[int, Mapping[str, Any]] = optimiser.state_dict()["state"]
    return {
        f"{number}.{name}": value.detach().cpu().contiguous()
        for number, entry in state.items()
        for name, value in entry.items()
        if isinstance(value, torch.Tensor)
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put `optimiser_tensors` back; rates and the like come from the configuration, not from the file."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        parameter = parameters[int(number)]
        # A buffer in its parameter's memory order keeps the fused update on the fast path.
        like = (
            torch.empty_like(parameter, requires_grad=False)
            if value.shape == parameter.shape
            else value.clone()
        )
        optimiser.state[parameter][name] = like.copy_(value)


class Schedule:
    """Factor on the base learning rate: from progress in 0..1, and for "plateau" from the evaluations."""

    def __init__(self, name: ScheduleName, *, warmup_fraction: float = 0.0) -> None:
        self._name = name
        self._warmup_fraction = warmup_fraction
        self._plateau = {"best": -math.inf, "stale": 0.0, "factor": 1.0}

    def factor(self, progress: float) -> float:
        """Factor at `progress`, the share of the run that is done."""
        warmup = min(1.0, progress / self._warmup_fraction) if self._warmup_fraction > 0 else 1.0
        return warmup * self._shape(min(progress, 1.0))

    def observe(self, value: float) -> None:
        """Take note of one evaluation, higher being better."""
        plateau = self._plateau
        if value > plateau["best"]:
            plateau |= {"best": value, "stale": 0.0}
            return
        plateau["stale"] += 1
        if plateau["stale"] > _PLATEAU_PATIENCE:
            plateau |= {"factor": plateau["factor"] / 10, "stale": 0.0}

    def state(self) -> JsonObject:
        return {key: value for key, value in self._plateau.items() if math.isfinite(value)}

    def restore(self, state: Mapping[str, float]) -> None:
        self._plateau |= state

    def _shape(self, progress: float) -> float:
        if self._name == "cosine":
            return _cosine(progress)
        if self._name == "one-cycle":
            if progress < _ONE_CYCLE_RISE:
                return 1 - (1 - _ONE_CYCLE_START) * _cosine(progress / _ONE_CYCLE_RISE)
            return _cosine((progress - _ONE_CYCLE_RISE) / (1 - _ONE_CYCLE_RISE))
        if self._name == "step":
            return 0.1 ** sum(progress >= point for point in _STEP_POINTS)
        return self._plateau["factor"] if self._name == "plateau" else 1.0


class WeightAverage:
    """Exponential moving average of a module's weights (Polyak averaging); its buffers are copied."""

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        # The first averages would otherwise be mostly the random start.
        decay = min(self._decay, (1 + step) / (10 + step))
        for average, current in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(current, 1 - decay)
        for copied, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            copied.copy_(buffer)


def _cosine(progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2

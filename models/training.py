"""The one training loop, for images, tables and sequences alike.

A task says what the batches, the loss and the evaluation are; the loop owns optimiser, schedule, precision,
seeds, checkpoints, early stop, budgets and reports. Its only I/O is inside the work directory.
On a CPU a run that was stopped or killed at any step and resumed ends with the same bits as one that was not.
"""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from models.backbones.stages import find_network, parameters_by_stage
from models.checkpoints import (
    Checkpoint,
    Tensors,
    capture_random_state,
    read_checkpoint,
    restore_random_state,
    write_checkpoint,
)
from models.devices import Dtype, Precision, autocast, deterministic, fastest_dtype, place
from models.events import CheckpointWritten, Event, Metric, Progress
from models.optimisation import (
    OptimiserName,
    Schedule,
    ScheduleName,
    WeightAverage,
    make_optimiser,
    optimiser_tensors,
    restore_optimiser,
)
from models.schema import bounded, decode, encode

BatchT = TypeVar("BatchT")
_PROGRESS_INTERVAL_S = 0.5


class TrainingFailed(ValueError):
    """Training cannot go on; `code` is `diverged`, `no_batches`, `no_monitor`, `no_stages` or `other_run`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class StepLoss:
    """A scalar to minimise, and values to log beside it."""

    loss: torch.Tensor
    logs: Mapping[str, float] = field(default_factory=dict)


class TrainingTask(Protocol[BatchT]):
    """What is trained.

    Attributes:
        module: the network, trained in place.
        monitor: the key of `evaluate`'s result that chooses the best epoch; higher is better.
    """

    module: nn.Module
    monitor: str

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[BatchT]:
        """The plan of an epoch, fixed by `rng` alone, of one length always; cheap (indices, not pixels)."""
        ...

    def loss(self, module: nn.Module, batch: BatchT) -> StepLoss:
        """Loss of one batch, on the task's device; may draw from torch's global generator."""
        ...

    def evaluate(self, module: nn.Module) -> Mapping[str, float | None]:
        """Metrics on data kept apart for tuning; `module` is in evaluation mode. None: not defined."""
        ...


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; with `max_seconds` the schedule follows the clock too, so equal bits are not promised."""

    epochs: int = bounded(10, minimum=1, maximum=10_000)
    learning_rate: float = bounded(0.01, minimum=0)
    optimiser: OptimiserName = "sgd"
    momentum: float = bounded(0.9, minimum=0, maximum=0.9999, doc="for sgd")
    weight_decay: float = bounded(1e-4, minimum=0)
    schedule: ScheduleName = "one-cycle"
    warmup_fraction: float = bounded(0.0, minimum=0, maximum=0.9)
    rate_decay: float = bounded(
        1.0, minimum=0.01, maximum=1, doc="of the learning rate per stage below the head"
    )
    freeze: tuple[str, ...] = ()
    unfreeze_after_epoch: int | None = bounded(None, minimum=1, doc="epochs until frozen stages learn too")
    clip_norm: float | None = bounded(5.0, minimum=1e-6)
    precision: Precision = "auto"
    average_decay: float | None = bounded(None, minimum=0, maximum=1, doc="moving average of the weights")
    patience_epochs: int | None = bounded(None, minimum=1, doc="early stop")
    max_seconds: float | None = bounded(None, minimum=0)
    seed: int = bounded(0, minimum=0, maximum=2**32 - 1)
    deterministic: bool = False
    checkpoint_every_s: float = bounded(60.0, minimum=0)
    checkpoint_every_steps: int | None = bounded(None, minimum=1)
    log_every_steps: int = bounded(10, minimum=1)
    log_layer_norms: bool = False


@dataclass(frozen=True)
class Completed:
    """A finished run; the task's module holds the best epoch's weights."""

    reason: Literal["epochs", "early_stop", "time_budget"]
    best_epoch: int
    best_metrics: Mapping[str, float | None]
    epochs: int
    steps: int
    elapsed_s: float
    dtype: Dtype


@dataclass(frozen=True)
class Interrupted:
    """Stopped on request; resume from `checkpoint` (None: nothing was learnt yet, so start anew).

    `step` is the step training had reached, 0 if it stopped before its first one in this call.
    """

    checkpoint: Path | None
    step: int


@dataclass
class _Position:
    """Where a run stands; all of it is saved."""

    dtype: Dtype
    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_epoch: int = -1
    best_value: float | None = None
    best_metrics: Mapping[str, float | None] = field(default_factory=dict)
    elapsed_s: float = 0.0


def train(
    task: TrainingTask[BatchT],
    config: TrainingConfig,
    work_dir: Path,
    *,
    device: torch.device,
    resume_from: Path | None = None,
    report: Callable[[Event], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Completed | Interrupted:
    """Train `task.module` in place and leave the best epoch's weights in it.

    Args:
        task: module, batches, loss and evaluation.
        config: optimisation, budgets and seeds. The global generators of torch, numpy and Python are seeded.
        work_dir: checkpoints go to `work_dir/checkpoints`.
        device: where the module is placed; the task puts its batches there.
        resume_from: a checkpoint folder of a run with the same configuration.
        report: called with events, in order, from this thread.
        should_stop: polled between steps; once true, a checkpoint is written and the run returns.

    Raises:
        TrainingFailed: the loss is not finite, nothing to train on, or a checkpoint of another run.
        CheckpointDamaged: `resume_from` does not verify; take the previous one.
    """
    with deterministic(config.deterministic):
        run = _Run(task, config, work_dir, device=device, report=report)
        run.start(resume_from)
        return run.go(should_stop)


class _Run(Generic[BatchT]):
    """One call of `train`."""

    def __init__(
        self,
        task: TrainingTask[BatchT],
        config: TrainingConfig,
        work_dir: Path,
        *,
        device: torch.device,
        report: Callable[[Event], None],
    ) -> None:
        self._task, self._config, self._device, self._report = task, config, device, report
        self._checkpoints = work_dir / "checkpoints"
        self._module = place(task.module, device)
        self._average = None
        if config.average_decay is not None:
            self._average = WeightAverage(self._module, decay=config.average_decay)
        self._optimiser = make_optimiser(
            self._module,
            config.optimiser,
            learning_rate=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            rate_decay=config.rate_decay,
        )
        self._stages = parameters_by_stage(self._module)
        self._schedule = Schedule(config.schedule, warmup_fraction=config.warmup_fraction)
        self._best: Tensors = {}
        self._clock = self._saved_at = self._reported_at = time.monotonic()

    def start(self, resume_from: Path | None) -> None:
        """Seed a fresh run, or take up a saved one."""
        config = self._config
        if resume_from is not None:
            self._restore(read_checkpoint(resume_from))
        else:
            dtype = fastest_dtype(self._device).dtype if config.precision == "auto" else config.precision
            self._position = _Position(dtype)
            torch.manual_seed(config.seed)
            np.random.seed(config.seed)
            random.seed(config.seed)
        self._plan = self._plan_epoch()
        if len(self._plan) == 0:
            raise TrainingFailed("no_batches", "there is nothing to train on")
        self._total = config.epochs * len(self._plan)

    def go(self, should_stop: Callable[[], bool]) -> Completed | Interrupted:
        """Step through what is left."""
        position = self._position
        while True:
            while position.batch < len(self._plan) and not self._out_of_time():
                if should_stop():
                    return Interrupted(self._save(), position.step)
                self._step(self._plan[position.batch])
                self._save_if_due()
            self._finish_epoch()
            reason = self._end_reason()
            if reason is not None:
                return self._complete(reason)
            self._plan = self._plan_epoch()

    def _plan_epoch(self) -> Sequence[BatchT]:
        self._set_frozen()
        rng = np.random.default_rng([self._config.seed, self._position.epoch])
        return self._task.batches(self._position.epoch, rng)

    def _set_frozen(self) -> None:
        """The optimiser has every parameter from the start: one without a gradient is passed over."""
        frozen, until = self._config.freeze, self._config.unfreeze_after_epoch
        network = find_network(self._module) if frozen else None
        if frozen and network is None:
            raise TrainingFailed("no_stages", "this model has no stages that could be frozen")
        if network is not None and (until is None or self._position.epoch < until):
            network.freeze(*frozen)
        elif network is not None:
            network.unfreeze(*frozen)

    def _step(self, batch: BatchT) -> None:
        position, config = self._position, self._config
        rate = config.learning_rate * self._schedule.factor(self._progress())
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["rate_factor"]
        self._module.train()
        with autocast(self._device, position.dtype):
            outcome = self._task.loss(self._module, batch)
        self._optimiser.zero_grad(set_to_none=True)
        outcome.loss.backward()  # type: ignore[no-untyped-call] # torch's stubs
        logs = position.step % config.log_every_steps == config.log_every_steps - 1
        norms = self._layer_norms() if logs and config.log_layer_norms else {}
        norm = nn.utils.clip_grad_norm_(self._module.parameters(), config.clip_norm or math.inf)
        self._optimiser.step()
        position.step += 1
        position.batch += 1
        if self._average is not None:
            self._average.update(self._module, position.step)
        self._last_loss, self._last_norm = outcome.loss.detach(), norm
        self._tick()
        if logs:
            self._check_finite()
            series = {"loss": float(self._last_loss), "gradient_norm": float(norm), "learning_rate": rate}
            self._log(series | norms | dict(outcome.logs))

    def _layer_norms(self) -> dict[str, float]:
        """Of the gradient before it is clipped, of each stage that learns."""
        gradients = {
            name: [parameter.grad for parameter in stage if parameter.grad is not None]
            for name, stage in self._stages.items()
        }
        return {
            f"gradient_norm/{name}": float(nn.utils.get_total_norm(found))
            for name, found in gradients.items()
            if found
        }

    def _finish_epoch(self) -> None:
        """Evaluate, remember the best weights, and move on to the next epoch."""
        position, module = self._position, self._evaluated()
        self._check_finite()
        module.eval()
        with torch.no_grad():
            metrics = {name: _defined(value) for name, value in self._task.evaluate(module).items()}
        value = metrics.get(self._task.monitor)
        if value is None:
            raise TrainingFailed(
                "no_monitor", "the metric that chooses the epoch is not defined on this data"
            )
        self._log(metrics)
        self._schedule.observe(value)
        if position.best_value is None or value > position.best_value:
            position.best_epoch, position.best_value, position.best_metrics = position.epoch, value, metrics
            self._best = _cpu_copy(module)
        position.epoch += 1
        position.batch = 0
        self._tick()

    def _end_reason(self) -> Literal["epochs", "early_stop", "time_budget"] | None:
        position, config = self._position, self._config
        if position.epoch >= config.epochs:
            return "epochs"
        patience = config.patience_epochs
        if patience is not None and position.epoch - 1 - position.best_epoch >= patience:
            return "early_stop"
        return "time_budget" if self._out_of_time() else None

    def _complete(self, reason: Literal["epochs", "early_stop", "time_budget"]) -> Completed:
        position = self._position
        self._module.load_state_dict(self._best)
        self._module.eval()
        self._report(Progress(self._total, self._total, "steps", "trained"))
        return Completed(
            reason,
            position.best_epoch,
            position.best_metrics,
            position.epoch,
            position.step,
            position.elapsed_s,
            position.dtype,
        )

    def _evaluated(self) -> nn.Module:
        return self._module if self._average is None else self._average.module

    def _progress(self) -> float:
        share = self._position.step / self._total
        limit = self._config.max_seconds
        return share if limit is None else min(1.0, max(share, self._position.elapsed_s / max(limit, 1e-9)))

    def _out_of_time(self) -> bool:
        limit = self._config.max_seconds
        # At least one step: an untrained net has nothing to evaluate.
        return limit is not None and self._position.step > 0 and self._position.elapsed_s >= limit

    def _tick(self) -> None:
        now = time.monotonic()
        self._position.elapsed_s += now - self._clock
        self._clock = now
        if now - self._reported_at >= _PROGRESS_INTERVAL_S:
            self._reported_at = now
            self._report(Progress(self._position.step, self._total, "steps", "training"))

    def _log(self, values: Mapping[str, float | None]) -> None:
        for name, value in values.items():
            if value is not None:
                self._report(Metric(name, self._position.step, value))

    def _check_finite(self) -> None:
        # The norm too: after a finite loss the weights may have become NaN with this very step.
        if self._position.batch and not bool(
            torch.isfinite(self._last_loss) & torch.isfinite(self._last_norm)
        ):
            raise TrainingFailed(
                "diverged", "loss or gradient is not finite: lower the learning rate or check the data"
            )

    def _save_if_due(self) -> None:
        config = self._config
        steps = config.checkpoint_every_steps
        by_steps = steps is not None and self._position.step % steps == 0
        if by_steps or time.monotonic() - self._saved_at >= config.checkpoint_every_s:
            self._save()

    def _save(self) -> Path:
        self._check_finite()
        tensors: dict[str, Tensors] = {
            "module": _cpu_copy(self._module),
            "optimiser": optimiser_tensors(self._optimiser),
            "best": self._best,
        }
        if self._average is not None:
            tensors["average"] = _cpu_copy(self._average.module)
        state = {
            "position": encode(self._position),
            "schedule": self._schedule.state(),
            "random": capture_random_state(),
            "config": encode(self._config),
        }
        path = write_checkpoint(self._checkpoints, self._position.step, Checkpoint(tensors, state))
        self._saved_at = time.monotonic()
        self._report(CheckpointWritten(path, self._position.step))
        return path

    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors, state = checkpoint.tensors, checkpoint.state
        if state["config"] != encode(self._config):
            raise TrainingFailed("other_run", "the checkpoint was written with another configuration")
        self._position = decode(_Position, state["position"])
        self._last_loss = self._last_norm = torch.zeros(())
        self._module.load_state_dict(tensors["module"])
        restore_optimiser(self._optimiser, tensors["optimiser"])
        self._best = tensors["best"]
        if self._average is not None:
            self._average.module.load_state_dict(tensors["average"])
        self._schedule.restore(state["schedule"])
        restore_random_state(state["random"])


def _defined(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _cpu_copy(module: nn.Module) -> Tensors:
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}

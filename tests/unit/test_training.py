import numpy as np
import pytest
import torch
from torch import nn

from models.checkpoints import CheckpointDamaged, list_checkpoints
from models.events import CheckpointWritten, Metric, Progress
from models.training import Completed, Interrupted, StepLoss, TrainingConfig, TrainingFailed, train

CPU = torch.device("cpu")


class Network(nn.Module):
    """Image net with batch norm and dropout, so that buffers and random numbers matter."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1)
        )
        self.head = nn.Linear(8 * 36, 2)

    def forward(self, inputs):
        return self.head(self.layers(inputs))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, steps_BTF):
        return self.head(self.gru(steps_BTF)[0][:, -1])


MODULES = {
    "image": (Network, (1, 6, 6)),
    "table": (lambda: nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2)), (10,)),
    "sequence": (Recurrent, (5, 3)),
}


class Classification:
    """Random inputs with random classes: nothing to generalise, enough to overfit."""

    monitor = "accuracy"

    def __init__(self, kind, *, samples=8, batch=4):
        make, shape = MODULES[kind]
        torch.manual_seed(1)
        self.module = make()
        self.inputs, self.classes = torch.randn(samples, *shape), torch.arange(samples) % 2
        self.batch, self.steps, self.evaluations = batch, 0, []

    def batches(self, epoch, rng):
        return rng.permutation(len(self.inputs)).reshape(-1, self.batch)

    def loss(self, module, batch):
        self.steps += 1
        logits = module(self.inputs[batch])
        return StepLoss(
            nn.functional.cross_entropy(logits.float(), self.classes[batch]), {"size": len(batch)}
        )

    def evaluate(self, module):
        assert not module.training
        accuracy = (module(self.inputs).argmax(dim=1) == self.classes).float().mean().item()
        self.evaluations.append(accuracy)
        return {"accuracy": accuracy, "undefined": float("nan")}


class Killed(Exception):
    pass


class KilledAt(Classification):
    """Dies in the middle of a step, as SIGKILL would have it."""

    def __init__(self, kind, step, **options):
        super().__init__(kind, **options)
        self.last = step

    def loss(self, module, batch):
        outcome = super().loss(module, batch)
        if self.steps > self.last:
            raise Killed
        return outcome


def config(**changes):
    return TrainingConfig(**{"epochs": 3, "precision": "float32", "checkpoint_every_steps": 1} | changes)


def same_weights(left, right):
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", MODULES)
def test_images_tables_and_sequences_overfit_eight_samples(kind, tmp_path):
    task = Classification(kind)
    settings = config(epochs=60, optimiser="adamw", learning_rate=0.01, checkpoint_every_steps=None)
    outcome = train(task, settings, tmp_path, device=CPU)
    assert isinstance(outcome, Completed)
    assert outcome.best_metrics["accuracy"] == 1.0


@pytest.mark.parametrize(
    "options",
    [
        {"optimiser": "sgd", "schedule": "one-cycle"},
        {"optimiser": "adamw", "schedule": "plateau", "average_decay": 0.9},
        {"optimiser": "sgd", "schedule": "cosine", "precision": "bfloat16", "deterministic": True},
    ],
)
@pytest.mark.parametrize("kill_at", [1, 4, 6])  # 4 steps an epoch: within, before and after its end
def test_a_killed_run_resumes_to_the_same_bits(options, kill_at, tmp_path):
    settings = config(**options)
    whole = Classification("image", samples=16)
    expected = train(whole, settings, tmp_path / "whole", device=CPU)
    killed = KilledAt("image", kill_at, samples=16)
    with pytest.raises(Killed):
        train(killed, settings, tmp_path / "killed", device=CPU)
    torch.manual_seed(999)
    resumed = Classification("image", samples=16)
    newest = list_checkpoints(tmp_path / "killed" / "checkpoints")[0]
    outcome = train(resumed, settings, tmp_path / "killed", device=CPU, resume_from=newest)
    assert same_weights(resumed.module, whole.module)
    assert (outcome.best_epoch, outcome.best_metrics, outcome.steps) == (
        expected.best_epoch,
        expected.best_metrics,
        expected.steps,
    )


def test_resuming_from_an_older_checkpoint_gives_the_same_bits(tmp_path):
    whole = Classification("table", samples=16)
    train(whole, config(), tmp_path, device=CPU)
    older = list_checkpoints(tmp_path / "checkpoints")[1]
    resumed = Classification("table", samples=16)
    train(resumed, config(), tmp_path, device=CPU, resume_from=older)
    assert resumed.steps == 1
    assert same_weights(resumed.module, whole.module)


def test_a_run_stops_on_request_and_goes_on_later(tmp_path):
    whole = Classification("image")
    train(whole, config(), tmp_path / "whole", device=CPU)
    task = Classification("image")
    settings = config(checkpoint_every_steps=None)
    stopped = train(task, settings, tmp_path, device=CPU, should_stop=lambda: task.steps >= 3)
    assert isinstance(stopped, Interrupted)
    assert (stopped.step, task.steps) == (3, 3)
    resumed = Classification("image")
    outcome = train(resumed, settings, tmp_path, device=CPU, resume_from=stopped.checkpoint)
    assert outcome.reason == "epochs"
    assert same_weights(resumed.module, whole.module)


def test_a_run_may_stop_before_its_first_step(tmp_path):
    stopped = train(Classification("table"), config(), tmp_path, device=CPU, should_stop=lambda: True)
    outcome = train(Classification("table"), config(), tmp_path, device=CPU, resume_from=stopped.checkpoint)
    assert (stopped.step, outcome.steps) == (0, 6)


@pytest.mark.parametrize(
    "name", ["module.safetensors", "optimiser.safetensors", "state.json", "manifest.json"]
)
@pytest.mark.parametrize("damage", ["torn", "missing", "flipped"])
def test_a_damaged_checkpoint_is_noticed_and_the_previous_one_serves(name, damage, tmp_path):
    train(Classification("table"), config(), tmp_path, device=CPU)
    newest, previous = list_checkpoints(tmp_path / "checkpoints")
    data = bytearray((newest / name).read_bytes())
    data[len(data) // 2] ^= 64
    if damage == "missing":
        (newest / name).unlink()
    else:
        (newest / name).write_bytes(data if damage == "flipped" else data[: len(data) // 2])
    with pytest.raises(CheckpointDamaged):
        train(Classification("table"), config(), tmp_path, device=CPU, resume_from=newest)
    outcome = train(Classification("table"), config(), tmp_path, device=CPU, resume_from=previous)
    assert isinstance(outcome, Completed)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    train(Classification("table"), config(), tmp_path, device=CPU)
    newest = list_checkpoints(tmp_path / "checkpoints")[0]
    with pytest.raises(TrainingFailed) as refused:
        train(Classification("table"), config(seed=5), tmp_path, device=CPU, resume_from=newest)
    assert refused.value.code == "other_run"


def test_events_tell_the_series_and_the_checkpoints(tmp_path):
    events = []
    train(Classification("table"), config(log_every_steps=2), tmp_path, device=CPU, report=events.append)
    series = {event.name for event in events if isinstance(event, Metric)}
    assert series == {"loss", "gradient_norm", "learning_rate", "size", "accuracy"}
    written = [event for event in events if isinstance(event, CheckpointWritten)]
    assert [event.step for event in written] == [1, 2, 3, 4, 5, 6]
    assert written[-1].path.is_dir()
    assert events[-1] == Progress(6, 6, "steps", "trained")


def test_the_best_epoch_is_what_remains(tmp_path):
    task = Classification("table")
    snapshots = []

    def scripted(module):
        snapshots.append({name: value.clone() for name, value in module.state_dict().items()})
        return {"accuracy": [0.1, 0.7, 0.3][len(snapshots) - 1]}

    task.evaluate = scripted
    outcome = train(task, config(), tmp_path, device=CPU)
    assert (outcome.best_epoch, outcome.epochs) == (1, 3)
    assert all(torch.equal(value, snapshots[1][name]) for name, value in task.module.state_dict().items())


def test_early_stop_waits_for_its_patience(tmp_path):
    task = Classification("table")
    task.evaluate = lambda module: {"accuracy": 0.5}
    outcome = train(task, config(epochs=50, patience_epochs=3), tmp_path, device=CPU)
    assert (outcome.reason, outcome.epochs) == ("early_stop", 4)


def test_a_time_budget_ends_in_an_evaluated_model(tmp_path):
    outcome = train(Classification("table"), config(epochs=10_000, max_seconds=0.0), tmp_path, device=CPU)
    assert (outcome.reason, outcome.steps) == ("time_budget", 1)
    assert "accuracy" in outcome.best_metrics


def test_a_loss_that_is_not_finite_ends_the_run_without_a_checkpoint(tmp_path):
    task = Classification("table")
    task.inputs[0] = float("nan")
    with pytest.raises(TrainingFailed) as failed:
        train(task, config(checkpoint_every_steps=2), tmp_path, device=CPU)
    assert failed.value.code == "diverged"
    assert list_checkpoints(tmp_path / "checkpoints") == []


def test_an_undefined_monitor_ends_the_run(tmp_path):
    task = Classification("table")
    task.evaluate = lambda module: {"accuracy": None}
    with pytest.raises(TrainingFailed) as failed:
        train(task, config(), tmp_path, device=CPU)
    assert failed.value.code == "no_monitor"


def test_nothing_to_train_on_is_said(tmp_path):
    task = Classification("table")
    task.batches = lambda epoch, rng: []
    with pytest.raises(TrainingFailed) as failed:
        train(task, config(), tmp_path, device=CPU)
    assert failed.value.code == "no_batches"


def test_gradients_are_clipped(tmp_path):
    task = Classification("table")
    before = [parameter.detach().clone() for parameter in task.module.parameters()]
    settings = config(
        epochs=1, learning_rate=1.0, schedule="constant", momentum=0.0, weight_decay=0.0, clip_norm=1e-3
    )
    task.batch = 8
    train(task, settings, tmp_path, device=CPU)
    moved = sum((a - b).square().sum() for a, b in zip(before, task.module.parameters(), strict=True))
    assert moved.sqrt().item() == pytest.approx(1e-3, rel=1e-3)


def test_the_order_of_batches_depends_on_seed_and_epoch_alone(tmp_path):
    seen = []

    class Watching(Classification):
        def batches(self, epoch, rng):
            plan = super().batches(epoch, rng)
            seen.append(plan.tolist())
            return plan

    for seed in (0, 0, 1):
        np.random.random()
        train(Watching("table"), config(epochs=2, seed=seed), tmp_path / str(len(seen)), device=CPU)
    first, again, other = seen[0:2], seen[2:4], seen[4:6]
    assert first == again
    assert first != other
    assert first[0] != first[1]

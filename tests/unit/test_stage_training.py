"""What the shared loop does stage by stage: rates, freezing, and norms of the gradient."""

import math

import pytest
import torch
from torch import nn

from models.backbones.build import build_classifier
from models.backbones.stages import parameters_by_stage
from models.checkpoints import list_checkpoints
from models.events import Metric
from models.imaging.detector import build_detector
from models.optimisation import Schedule, make_optimiser
from models.training import StepLoss, TrainingConfig, TrainingFailed, train

CPU = torch.device("cpu")
SMALL = {"width": 0.125}
STAGES = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]


class Killed(Exception):
    pass


class Frames:
    """Eight drawn frames of two classes, through a residual network of 8 channels."""

    monitor = "score"

    def __init__(self, *, kill_at=None):
        torch.manual_seed(1)
        self.module = build_classifier("resnet10", SMALL, 2)
        self.frames, self.classes = torch.randn(8, 3, 32, 32), torch.arange(8) % 2
        self.kill_at, self.steps, self.seen = kill_at, 0, []

    def batches(self, epoch, rng):
        self.seen.append({name: value.clone() for name, value in self.module.state_dict().items()})
        return rng.permutation(8).reshape(2, 4)

    def loss(self, module, batch):
        self.steps += 1
        if self.steps == self.kill_at:
            raise Killed
        return StepLoss(nn.functional.cross_entropy(module(self.frames[batch]), self.classes[batch]))

    def evaluate(self, module):
        return {"score": -nn.functional.cross_entropy(module(self.frames), self.classes).item()}


def config(**changes):
    given = {"epochs": 3, "precision": "float32", "checkpoint_every_steps": 1, "log_every_steps": 1}
    return TrainingConfig(**given | changes)


def changed(before, after):
    """Stages of which anything moved, batch statistics included."""
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    first = {"conv1": "stem", "bn1": "stem", "fc": "head"}
    return {first.get(name.split(".")[0], name.split(".")[0]) for name in moved}


@pytest.mark.parametrize(
    "module",
    [build_classifier("resnet10", SMALL, 2), build_detector("resnet10", SMALL, 2)],
    ids=["head of its own", "head of the detector"],
)
def test_each_parameter_is_in_one_stage_and_the_dense_layer_in_the_head(module):
    stages = parameters_by_stage(module)
    assert list(stages) == STAGES
    found = [id(parameter) for stage in stages.values() for parameter in stage]
    assert sorted(found) == sorted(id(parameter) for parameter in module.parameters())
    assert [parameter.shape[0] for parameter in stages["head"]] == [2, 2]


def test_a_model_without_stages_is_taken_apart_by_its_children():
    module = nn.ModuleDict({"first": nn.Linear(2, 3), "relu": nn.ReLU(), "second": nn.Linear(3, 1)})
    assert {name: len(stage) for name, stage in parameters_by_stage(module).items()} == {
        "first": 2,
        "second": 2,
    }


def test_rates_fall_from_the_head_down():
    module = build_classifier("resnet10", SMALL, 2)
    optimiser = make_optimiser(
        module, "sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.1, rate_decay=0.5
    )
    rate_of = {id(item): group["lr"] for group in optimiser.param_groups for item in group["params"]}
    stages = parameters_by_stage(module)
    rates = {name: {rate_of[id(item)] for item in stage} for name, stage in stages.items()}
    assert rates == {name: {0.1 * 0.5**below} for below, name in enumerate(reversed(STAGES))}


def test_the_loop_moves_each_stage_at_its_rate(tmp_path):
    task = Frames()
    task.batches = lambda epoch, rng: [torch.arange(8)]
    before = {name: value.clone() for name, value in task.module.named_parameters()}
    train(
        task,
        config(
            epochs=1, rate_decay=0.5, learning_rate=0.1, momentum=0.0, weight_decay=0.0, clip_norm=None,
            schedule="constant",
        ),
        tmp_path,
        device=CPU,
    )  # fmt: skip
    moved = {name: before[name] - value for name, value in task.module.named_parameters()}
    ratio = [moved[name] / parameter.grad for name, parameter in task.module.named_parameters()]
    layer4 = dict(zip(moved, ratio, strict=True))["layer4.0.conv1.weight"]
    stem = dict(zip(moved, ratio, strict=True))["conv1.weight"]
    assert layer4.nanmedian().item() == pytest.approx(0.05, rel=1e-3)
    assert stem.nanmedian().item() == pytest.approx(0.1 / 32, rel=1e-3)


def test_momentum_adds_gradients_and_decay_pulls_matrices_to_zero():
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    options = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    optimiser = make_optimiser(module, "sgd", **options)
    weight, bias = module.weight.detach().clone(), module.bias.detach().clone()
    velocity = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for _ in range(4):
        gradient, gradient_bias = torch.randn(2, 3), torch.randn(2)
        module.weight.grad, module.bias.grad = gradient.clone(), gradient_bias.clone()
        optimiser.step()
        velocity[0] = 0.9 * velocity[0] + gradient + 0.01 * weight
        velocity[1] = 0.9 * velocity[1] + gradient_bias
        weight -= 0.1 * velocity[0]
        bias -= 0.1 * velocity[1]
    torch.testing.assert_close(module.weight.detach(), weight)
    torch.testing.assert_close(module.bias.detach(), bias)


def test_a_plateau_divides_the_rate_of_every_stage(tmp_path):
    task, rates = Frames(), []
    task.evaluate = lambda module: {"score": 0.5}

    def note(event):
        if isinstance(event, Metric) and event.name == "learning_rate":
            rates.append(event.value)

    train(task, config(epochs=6, schedule="plateau", learning_rate=0.01), tmp_path, device=CPU, report=note)
    assert rates[0] == 0.01
    assert rates[-1] == pytest.approx(0.001)
    assert Schedule("plateau").factor(0.5) == 1


def test_frozen_stages_stand_still_until_they_may_learn(tmp_path):
    task = Frames()
    settings = config(epochs=4, freeze=("stem", "layer1", "layer2"), unfreeze_after_epoch=2)
    train(task, settings, tmp_path, device=CPU)
    first, second, third, fourth = task.seen
    assert changed(first, second) == changed(second, third) == {"layer3", "layer4", "head"}
    assert changed(third, fourth) == set(STAGES)


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("kill_at", [2, 4, 6])  # two steps an epoch; stages learn from the fifth on
def test_a_killed_run_with_frozen_stages_resumes_to_the_same_bits(optimiser, kill_at, tmp_path):
    settings = config(
        epochs=4, optimiser=optimiser, freeze=("stem", "layer1"), unfreeze_after_epoch=2, rate_decay=0.7
    )
    whole = Frames()
    train(whole, settings, tmp_path / "whole", device=CPU)
    with pytest.raises(Killed):
        train(Frames(kill_at=kill_at), settings, tmp_path / "killed", device=CPU)
    newest = list_checkpoints(tmp_path / "killed" / "checkpoints")[0]
    resumed = Frames()
    train(resumed, settings, tmp_path / "killed", device=CPU, resume_from=newest)
    pairs = zip(whole.module.state_dict().values(), resumed.module.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_model_without_stages_cannot_freeze_any(tmp_path):
    task = Frames()
    task.module = nn.Linear(3, 2)
    with pytest.raises(TrainingFailed) as failed:
        train(task, config(freeze=("stem",)), tmp_path, device=CPU)
    assert failed.value.code == "no_stages"


def test_norms_are_told_by_stage_and_add_up(tmp_path):
    points = []

    def note(event):
        if isinstance(event, Metric) and event.name.startswith("gradient_norm"):
            points.append(event)

    settings = config(epochs=1, log_layer_norms=True, freeze=("stem",), clip_norm=1e-3)
    train(Frames(), settings, tmp_path, device=CPU, report=note)
    first = {point.name: point.value for point in points if point.step == 1}
    parts = {name.removeprefix("gradient_norm/"): value for name, value in first.items() if "/" in name}
    assert set(parts) == set(STAGES) - {"stem"}
    assert math.hypot(*parts.values()) == pytest.approx(first["gradient_norm"], rel=1e-4)
    assert first["gradient_norm"] > 0.01  # before it is clipped


def test_a_gradient_that_is_not_finite_ends_the_run_although_the_loss_is(tmp_path):
    """The square root has an infinite slope at 0: the weights are NaN only after the last step."""
    task = Frames()
    weight = next(task.module.parameters())
    task.batches = lambda epoch, rng: [torch.arange(8)]
    task.loss = lambda module, batch: StepLoss((weight * 0).sum().sqrt())
    with pytest.raises(TrainingFailed) as failed:
        train(task, config(epochs=1), tmp_path, device=CPU)
    assert failed.value.code == "diverged"
    assert list_checkpoints(tmp_path / "checkpoints") == []

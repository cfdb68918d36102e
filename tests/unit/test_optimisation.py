import pytest
import torch
from torch import nn

from models.devices import deterministic, fastest_dtype, pick_device, place
from models.optimisation import (
    Schedule,
    WeightAverage,
    make_optimiser,
    optimiser_tensors,
    restore_optimiser,
)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def step(module, optimiser):
    optimiser.zero_grad()
    torch.manual_seed(1)
    module(torch.randn(5, 3, 4, 4)).square().mean().backward()
    optimiser.step()


def test_vectors_have_no_weight_decay():
    module = net()
    optimiser = make_optimiser(module, "adamw", learning_rate=0.1, momentum=0.9, weight_decay=0.3)
    decay = {id(item): group["weight_decay"] for group in optimiser.param_groups for item in group["params"]}
    found = {name: decay[id(parameter)] for name, parameter in module.named_parameters()}
    assert {name for name, value in found.items() if value == 0.3} == {"0.weight", "3.weight"}
    assert len(found) == 6


def test_frozen_parameters_are_left_out():
    module = net()
    module[0].requires_grad_(False)
    optimiser = make_optimiser(module, "sgd", learning_rate=0.1, momentum=0.9, weight_decay=0)
    assert sum(len(group["params"]) for group in optimiser.param_groups) == 4


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_an_optimiser_goes_on_from_its_tensors(name):
    options = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    module = place(net(), torch.device("cpu"))
    optimiser = make_optimiser(module, name, **options)
    step(module, optimiser)
    copy = place(net(), torch.device("cpu"))
    copy.load_state_dict(module.state_dict())
    restored = make_optimiser(copy, name, **options)
    restore_optimiser(restored, optimiser_tensors(optimiser))
    step(module, optimiser)
    step(copy, restored)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), copy.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", {0.0: 1, 0.5: 1, 1.0: 1}),
        ("cosine", {0.0: 1, 0.5: 0.5, 1.0: 0}),
        ("one-cycle", {0.0: 1 / 25, 0.15: 0.52, 0.3: 1, 0.65: 0.5, 1.0: 0, 1.5: 0}),
        ("step", {0.0: 1, 0.49: 1, 0.5: 0.1, 0.75: 0.01, 1.0: 0.01}),
        ("plateau", {0.0: 1, 1.0: 1}),
    ],
)
def test_schedules_have_their_shapes(name, expected):
    schedule = Schedule(name)
    assert {progress: schedule.factor(progress) for progress in expected} == pytest.approx(expected)


def test_warmup_rises_to_the_schedule():
    schedule = Schedule("constant", warmup_fraction=0.2)
    assert [schedule.factor(progress) for progress in (0.0, 0.1, 0.2, 0.9)] == pytest.approx([0, 0.5, 1, 1])


def test_a_plateau_divides_the_rate_by_ten_and_remembers():
    schedule = Schedule("plateau")
    for value in (0.5, 0.6, 0.6, 0.55):
        schedule.observe(value)
    assert schedule.factor(0.4) == 1
    resumed = Schedule("plateau")
    resumed.restore(schedule.state())
    resumed.observe(0.6)
    assert resumed.factor(0.5) == pytest.approx(0.1)
    resumed.observe(0.7)
    assert resumed.factor(0.5) == pytest.approx(0.1)


def test_an_average_follows_its_module():
    module = net()
    average = WeightAverage(module, decay=0.5)
    start = module[3].weight.detach().clone()
    with torch.no_grad():
        module[3].weight += 1
        module[1].running_mean += 2
    average.update(module, step=1_000_000)
    torch.testing.assert_close(average.module[3].weight, start + 0.5)
    torch.testing.assert_close(average.module[1].running_mean, module[1].running_mean)
    assert not any(parameter.requires_grad for parameter in average.module.parameters())


def test_the_precision_is_timed_and_recorded():
    state = torch.get_rng_state()
    timing = fastest_dtype(torch.device("cpu"), budget_s=0.05)
    gain = timing.float32_s / timing.bfloat16_s
    assert timing.dtype == ("bfloat16" if gain > 1.2 else "float32")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_demanded_device_must_exist():
    assert pick_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        assert pick_device().type == "cpu"
        with pytest.raises(RuntimeError, match="no CUDA"):
            pick_device("cuda")


def test_determinism_ends_with_its_block():
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before

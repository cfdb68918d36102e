"""What the papers of AlexNet, VGG and GoogLeNet fix beside shapes and counts; how weights are drawn."""

import pytest
import torch
from torch import nn

from models.backbones.alexnet import AlexNetClassifier, AlexNetFeatures, response_normalisation
from models.backbones.build import BACKBONES, build_backbone
from models.backbones.googlenet import GoogLeNetClassifier, GoogLeNetFeatures
from models.backbones.initialisation import initialise


def test_alexnet_starts_the_biases_of_its_paper_at_one():
    network = AlexNetClassifier(10)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [layer.bias.unique().tolist() for layer in layers] == [[0], [1], [0], [1], [1], [1], [1], [0]]
    assert network.features[0].weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_two_towers_read_half_of_the_channels_in_the_paper_s_three_layers():
    network = AlexNetFeatures(towers=2)
    groups = [layer.groups for layer in network.features if isinstance(layer, nn.Conv2d)]
    assert groups == [1, 2, 1, 2, 2]
    kinds = [type(layer).__name__ for layer in network.features][:8]
    one = ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]
    assert kinds == one * 2


def test_response_normalisation_is_the_formula_of_the_paper():
    grid = torch.rand(1, 7, 1, 1) * 50
    middle = grid[0, 3] / (2 + 1e-4 * grid[0, 1:6].square().sum(dim=0)) ** 0.75
    torch.testing.assert_close(response_normalisation()(grid)[0, 3], middle)


def test_without_normalisation_googlenet_has_the_paper_s_5_x_5_and_with_it_the_public_weights_3_x_3():
    for form, side, biased in (("paper", 5, True), ("batch-norm", 3, False)):
        with torch.device("meta"):
            branch = GoogLeNetFeatures(form=form).inception3a.branch3
        assert branch[1].conv.kernel_size == (side, side)
        assert (branch[1].conv.bias is not None) is biased


def test_naive_modules_hand_on_all_channels_they_were_given():
    with torch.device("meta"):
        network = GoogLeNetFeatures(modules="naive")
    assert network.channels["inception3a"] == 64 + 128 + 32 + 192
    assert network.feature_channels == 4944


@pytest.mark.parametrize("modules", ["reduced", "naive"])
def test_all_three_heads_answer(modules):
    with torch.device("meta"):
        network = GoogLeNetClassifier(7, modules=modules)
        assert {tuple(logits.shape) for logits in network.all_logits(torch.zeros(2, 3, 97, 224))} == {(2, 7)}


def test_the_last_head_answers_alike_alone_and_beside_the_auxiliary_ones():
    network = GoogLeNetClassifier(3).eval()
    frames = torch.rand(2, 3, 64, 64)
    assert torch.equal(network(frames), network.all_logits(frames).logits_BK)


def test_an_auxiliary_head_teaches_the_modules_in_front_of_it_only():
    network = GoogLeNetClassifier(3)
    network.all_logits(torch.rand(2, 3, 64, 64)).auxiliary1_BK.square().sum().backward()
    taught = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    children = {name.split(".")[0] for name in taught}
    assert children == {"conv1", "conv2", "conv3", "inception3a", "inception3b", "inception4a", "aux1"}


@pytest.mark.parametrize(
    ("scheme", "spread"),
    [("small-random", 0.01), ("xavier", (2 / (9 * 64 + 9 * 256)) ** 0.5), ("he", (2 / (9 * 64)) ** 0.5)],
)
def test_a_scheme_draws_with_its_spread_and_clears_the_biases(scheme, spread):
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 256, 3)
    initialise(layer, scheme)
    assert layer.weight.std().item() == pytest.approx(spread, rel=0.02)
    assert layer.weight.mean().item() == pytest.approx(0, abs=spread / 50)
    assert not layer.bias.any()


@pytest.mark.parametrize(
    "name", ["alexnet", "vgg16", "googlenet", "resnet10", "densenet121", "efficientnet_b0"]
)
def test_the_option_draws_every_family_anew(name):
    network = build_backbone(name, {"initialisation": "small-random"})
    first = network.get_submodule(network.input_layer)
    assert first.weight.std().item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("name", BACKBONES)
def test_published_is_the_default(name):
    assert BACKBONES[name].params().initialisation == "published"


def test_he_keeps_the_signal_through_nineteen_layers_and_small_random_loses_it():
    frames = torch.randn(2, 3, 32, 32)
    torch.manual_seed(0)
    with torch.inference_mode():
        spread = {
            scheme: build_backbone("vgg19", {"initialisation": scheme})(frames).std().item()
            for scheme in ("small-random", "he")
        }
    assert spread["small-random"] < 1e-6
    assert 0.1 < spread["he"] < 10

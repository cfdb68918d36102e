"""Parameters with 1000 classes, as published: the tables of the papers and of the public weights."""

import pytest

from models.backbones.build import build_backbone, build_classifier
from models.backbones.googlenet import WIDTHS
from models.backbones.shapes import shapes_only

PUBLISHED = [
    ("alexnet", {}, 61_100_840),
    ("alexnet", {"towers": 2}, 60_965_224),
    ("vgg16", {}, 138_357_544),
    ("vgg16_bn", {}, 138_365_992),
    ("vgg19", {}, 143_667_240),
    ("vgg19_bn", {}, 143_678_248),
    ("googlenet", {}, 13_004_888),
    ("googlenet", {"form": "paper"}, 13_378_280),
    ("plain18", {}, 11_515_688),
    ("plain34", {}, 21_623_848),
    ("resnet18", {}, 11_689_512),
    ("resnet18", {"shortcut": "A"}, 11_515_688),
    ("resnet34", {}, 21_797_672),
    ("resnet34", {"shortcut": "A"}, 21_623_848),
    ("resnet34", {"shortcut": "C"}, 22_716_840),
    ("resnet50", {}, 25_557_032),
    ("resnet101", {}, 44_549_160),
    ("resnet152", {}, 60_192_808),
    ("resnet50_v2", {}, 25_549_352),
    ("densenet121", {}, 7_978_856),
    ("densenet169", {}, 14_149_480),
    ("densenet201", {}, 20_013_928),
    ("efficientnet_b0", {}, 5_288_548),
    ("efficientnet_b1", {}, 7_794_184),
    ("efficientnet_b2", {}, 9_109_994),
    ("efficientnet_b3", {}, 12_233_232),
    ("efficientnet_b4", {}, 19_341_616),
    ("efficientnet_b5", {}, 30_389_784),
    ("efficientnet_b6", {}, 43_040_704),
    ("efficientnet_b7", {}, 66_347_960),
]


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(autouse=True)
def _nothing_is_allocated():
    with shapes_only():
        yield


@pytest.mark.parametrize(("name", "params", "published"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(name, params, published):
    assert count(build_classifier(name, params, 1000)) == published


@pytest.mark.parametrize(("form", "published"), [("batch-norm", 6_624_904), ("paper", 6_998_552)])
def test_googlenet_without_its_auxiliary_heads_as_used_after_training(form, published):
    network = build_classifier("googlenet", {"form": form}, 1000)
    assert count(network) - count(network.aux1) - count(network.aux2) == published


def test_naive_modules_cost_what_the_table_says_without_its_reductions():
    stem = (3 * 49 + 1) * 64 + (64 + 1) * 64 + (64 * 9 + 1) * 192
    expected, inputs = stem, 192
    for one, _, three, _, five, _ in WIDTHS.values():
        expected += (inputs + 1) * one + (inputs * 9 + 1) * three + (inputs * 25 + 1) * five
        inputs += one + three + five
    naive = build_backbone("googlenet", {"form": "paper", "modules": "naive"})
    assert (count(naive), naive.feature_channels) == (expected, inputs)


def test_resnet50_with_and_without_a_head():
    assert count(build_backbone("resnet50", {})) == 23_508_032
    assert count(build_classifier("resnet50", {}, 2)) == 23_512_130


@pytest.mark.parametrize("depth", [18, 34])
def test_a_plain_network_has_the_parameters_of_the_residual_one_with_padded_shortcuts(depth):
    plain, residual = build_backbone(f"plain{depth}", {}), build_backbone(f"resnet{depth}", {"shortcut": "A"})
    assert {key: value.shape for key, value in plain.state_dict().items()} == {
        key: value.shape for key, value in residual.state_dict().items()
    }

import json

import pytest
import torch
from torch import nn

from models.backbones.build import BACKBONES, ResNetParams, build_backbone, catalogue
from models.backbones.resnet import ResNetFeatures
from models.schema import SchemaError

PUBLISHED_WITH_1000_CLASSES = {"resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032}
RESNETS = [name for name, entry in BACKBONES.items() if entry.params is ResNetParams]


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("name", "published"), PUBLISHED_WITH_1000_CLASSES.items())
def test_parameter_counts_are_the_published_ones(name, published):
    with torch.device("meta"):
        backbone = build_backbone(name, {})
        head = nn.Linear(backbone.feature_channels, 1000)
    assert count(backbone) + count(head) == published


def test_the_stem_halves_the_frame():
    backbone = ResNetFeatures(18)
    assert backbone.conv1.stride == (2, 2)
    assert all(layer.bias is None for layer in backbone.modules() if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_makes_a_grid_from_its_smallest_frame_on(name):
    side = BACKBONES[name].smallest_input_px
    with torch.device("meta"):
        backbone = build_backbone(name, {}).eval()
        batch, channels, rows, columns = backbone(torch.zeros(2, 3, side, 2 * side)).shape
    assert (batch, channels) == (2, backbone.feature_channels)
    assert columns >= rows >= 1


@pytest.mark.parametrize("name", RESNETS)
@pytest.mark.parametrize(("output_stride", "grid"), [(32, (2, 3)), (16, (4, 6))])
def test_features_are_a_grid_of_the_frame(name, output_stride, grid):
    backbone = build_backbone(name, {"width": 0.125, "output_stride": output_stride}).eval()
    features = backbone(torch.zeros(2, 3, 64, 96))
    assert features.shape == (2, backbone.feature_channels, *grid)


def test_in_channels_may_differ():
    assert (
        build_backbone("resnet10", {"in_channels": 1, "width": 0.125})(torch.zeros(2, 1, 64, 64)).shape[0]
        == 2
    )


def test_state_dict_keys_are_torchvisions():
    keys = set(ResNetFeatures(18).state_dict())
    assert {
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.conv1.weight",
        "layer2.0.downsample.0.weight",
    } <= keys
    assert not any(key.startswith("fc.") for key in keys)


def test_unknown_options_are_refused_by_pointer():
    with pytest.raises(SchemaError) as refused:
        build_backbone("resnet18", {"depth": 18})
    assert refused.value.pointer == "/depth"


def test_the_catalogue_lists_every_backbone_as_json():
    entries = json.loads(json.dumps(catalogue()))
    assert [entry["name"] for entry in entries] == list(BACKBONES)
    assert {entry["name"]: entry["parameter_count"] for entry in entries}["resnet50"] == 23_508_032

import pytest
import torch
from monai.networks.nets.resnet import ResNet
from torch import nn

from models.backbones.build import build_backbone
from models.backbones.resnet import PaddedShortcut, ResNetFeatures

MONAI = {10: ("basic", [1, 1, 1, 1]), 18: ("basic", [2, 2, 2, 2]), 50: ("bottleneck", [3, 4, 6, 3])}


def monai(depth):
    return ResNet(
        *MONAI[depth],
        [64, 128, 256, 512],
        spatial_dims=2,
        n_input_channels=3,
        conv1_t_stride=2,
        bias_downsample=False,
        widen_factor=0.125,
        feed_forward=False,
    )


@pytest.mark.parametrize("depth", MONAI)
def test_a_seed_gives_the_weights_and_features_of_monais_network(depth):
    """Versions trained before these blocks were ours keep their keys, and their trainings can be repeated."""
    torch.manual_seed(3)
    theirs = monai(depth).eval()
    torch.manual_seed(3)
    ours = ResNetFeatures(depth, width=0.125).eval()
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in ours.state_dict().items())
    frames = torch.rand(2, 3, 64, 96)
    assert torch.equal(theirs.avgpool(ours(frames)).flatten(1), theirs(frames))


def test_the_stem_halves_the_frame_and_no_convolution_has_a_bias():
    backbone = build_backbone("resnet18", {"width": 0.125})
    assert backbone.conv1.stride == (2, 2)
    assert all(layer.bias is None for layer in backbone.modules() if isinstance(layer, nn.Conv2d))


def test_a_bottleneck_strides_in_its_3_x_3_convolution():
    block = build_backbone("resnet50", {"width": 0.125}).layer2[0]
    assert [block.conv1.stride, block.conv2.stride, block.conv3.stride] == [(1, 1), (2, 2), (1, 1)]


def silent_block(version, shortcut):
    """A block in the middle of a stage whose last convolution says nothing: what is left is its shortcut."""
    block = ResNetFeatures(18, version=version, shortcut=shortcut, width=0.125).layer1[1].eval()
    nn.init.zeros_(block.conv2.weight)
    return block


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_the_second_version_hands_its_input_on_untouched(shortcut):
    grid = torch.randn(2, 8, 5, 5)
    assert torch.equal(silent_block(2, shortcut)(grid), grid)


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_the_first_version_rectifies_the_sum(shortcut):
    grid = torch.randn(2, 8, 5, 5)
    assert torch.equal(silent_block(1, shortcut)(grid), grid.relu())


@pytest.mark.parametrize("version", [1, 2])
def test_a_plain_block_has_no_way_around(version):
    assert not silent_block(version, None)(torch.randn(2, 8, 5, 5)).any()


def test_a_padded_shortcut_keeps_every_second_cell_adds_zeros_and_passes_the_gradient():
    grid = torch.randn(1, 2, 5, 4, requires_grad=True)
    out = PaddedShortcut(3, stride=2)(grid)
    assert tuple(out.shape) == (1, 5, 3, 2)
    assert torch.equal(out[:, :2], grid[:, :, ::2, ::2])
    assert not out[:, 2:].any()
    out.sum().backward()
    assert grid.grad.sum() == 2 * 3 * 2


def test_the_second_version_has_the_reference_detectors_normalisation():
    backbone = build_backbone("resnet50_v2", {"width": 0.125})
    norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(layer.momentum, layer.eps) for layer in norms} == {(0.003, 1e-5)}
    # Three per block and the last: none behind the stem, none in a projection.
    assert len(norms) == 16 * 3 + 1


def test_the_second_version_ends_with_normalisation_and_rectifier():
    backbone = build_backbone("resnet18_v2", {"width": 0.125}).eval()
    nn.init.constant_(backbone.bn_last.bias, -1e6)
    assert not backbone(torch.rand(1, 3, 64, 64)).any()


@pytest.mark.parametrize("version", ["", "_v2"])
@pytest.mark.parametrize(("shortcut", "projections"), [("A", 0), ("B", 3), ("C", 8)])
def test_shortcuts_project_where_the_letter_says(version, shortcut, projections):
    backbone = build_backbone(f"resnet18{version}", {"width": 0.125, "shortcut": shortcut})
    found = [
        module
        for name, module in backbone.named_modules()
        if "downsample" in name and isinstance(module, nn.Conv2d)
    ]
    assert len(found) == projections

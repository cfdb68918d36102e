import json
import re
from functools import cache

import pytest
import torch

from models.backbones import alexnet, densenet, efficientnet, googlenet, resnet, vgg
from models.backbones.build import BACKBONES, UnknownBackbone, build_backbone, build_classifier, catalogue
from models.backbones.entry import StridedParams
from models.backbones.shapes import shapes_only
from models.imaging.detector import build_detector
from models.schema import SchemaError

FAMILIES = (alexnet, vgg, googlenet, resnet, densenet, efficientnet)
STRIDED = [name for name, entry in BACKBONES.items() if issubclass(entry.params, StridedParams)]

# Side of a frame: side of its grid. The first is the family's smallest; 97 is odd all the way down.
GRIDS = {
    "alexnet": {63: 1, 97: 2, 224: 6},
    "vgg": {32: 1, 97: 3, 224: 7},
    "googlenet": {32: 1, 97: 3, 224: 7},
    "resnet": {32: 1, 97: 4, 224: 7},
    "plain": {32: 1, 97: 4, 224: 7},
    "densenet": {32: 1, 97: 3, 224: 7},
    "efficientnet": {32: 1, 97: 3, 224: 7},
}
FINE_GRIDS = {"alexnet": 13, "vgg": 14, "googlenet": 14, "resnet": 14, "plain": 14}
CHANNELS = {
    "alexnet": 256,
    "vgg": 512,
    "googlenet": 1024,
    "resnet10": 512,
    "resnet18": 512,
    "resnet34": 512,
    "resnet": 2048,
    "plain": 512,
    "densenet121": 1024,
    "densenet169": 1664,
    "densenet201": 1920,
    "densenet264": 2688,
    "efficientnet_b0": 1280,
    "efficientnet_b1": 1280,
    "efficientnet_b2": 1408,
    "efficientnet_b3": 1536,
    "efficientnet_b4": 1792,
    "efficientnet_b5": 2048,
    "efficientnet_b6": 2304,
    "efficientnet_b7": 2560,
}

# One of each kind of layer, small enough to compute with.
KINDS = [
    ("alexnet", {}),
    ("alexnet", {"towers": 2}),
    ("vgg16", {}),
    ("vgg16_bn", {}),
    ("googlenet", {}),
    ("googlenet", {"form": "paper"}),
    ("resnet10", {"width": 0.125}),
    ("resnet10", {"width": 0.125, "shortcut": "A"}),
    ("resnet10", {"width": 0.125, "shortcut": "C"}),
    ("resnet18_v2", {"width": 0.125}),
    ("resnet50", {"width": 0.125}),
    ("resnet50_v2", {"width": 0.125}),
    ("plain18", {"width": 0.125}),
    ("densenet121", {}),
    ("efficientnet_b0", {}),
]


def family(name):
    return re.match("[a-z]+", name)[0]


@cache
def layout(name, classes=None, **params):
    """The network without numbers; built once, because these tests only look."""
    with shapes_only():
        return build_classifier(name, params, classes) if classes else build_backbone(name, params)


def features_of(name, side, *, channels=3, **params):
    return layout(name, **params).eval()(torch.zeros(2, channels, side, 224, device="meta"))


def test_no_family_shadows_the_name_of_another():
    names = [name for module in FAMILIES for name in module.ENTRIES]
    assert sorted(names) == sorted(BACKBONES)
    assert {family(name) for name in names} == set(GRIDS)


@pytest.mark.parametrize("step", range(3))
@pytest.mark.parametrize("name", BACKBONES)
def test_a_frame_becomes_a_grid_of_the_published_size(name, step):
    side, cells = list(GRIDS[family(name)].items())[step]
    width = layout(name).feature_channels
    assert tuple(features_of(name, side).shape) == (2, width, cells, GRIDS[family(name)][224])


@pytest.mark.parametrize("name", BACKBONES)
def test_the_smallest_frame_is_the_declared_one(name):
    assert BACKBONES[name].smallest_input_px == next(iter(GRIDS[family(name)]))


@pytest.mark.parametrize(("name", "side"), [("alexnet", 62), ("vgg16", 31)])
def test_where_nothing_is_padded_a_smaller_frame_leaves_no_grid(name, side):
    with pytest.raises(RuntimeError, match="too small"):
        features_of(name, side)


@pytest.mark.parametrize("name", BACKBONES)
def test_feature_channels_are_the_published_ones(name):
    expected = CHANNELS.get(name.removesuffix("_v2"), CHANNELS.get(family(name)))
    assert layout(name).feature_channels == expected


@pytest.mark.parametrize("name", STRIDED)
def test_output_stride_16_doubles_the_grid(name):
    features = features_of(name, 224, output_stride=16)
    assert tuple(features.shape[2:]) == (FINE_GRIDS[family(name)],) * 2


@pytest.mark.parametrize("name", BACKBONES)
def test_in_channels_may_differ(name):
    network = layout(name, in_channels=1)
    assert network.get_submodule(network.input_layer).weight.shape[1] == 1
    assert features_of(name, 64, channels=1, in_channels=1).shape[1] == network.feature_channels


@pytest.mark.parametrize("name", BACKBONES)
def test_every_parameter_is_part_of_the_graph(name):
    with shapes_only():
        network = build_backbone(name, {}).train()
        network(torch.zeros(2, 3, 97, 224)).sum().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(("name", "params"), KINDS)
def test_the_gradient_reaches_every_weight(name, params):
    torch.manual_seed(0)
    network = build_backbone(name, params).train()
    features = network(torch.randn(4, 3, 64, 64))
    (features * torch.randn_like(features)).sum().backward()
    unreached = [
        key for key, weight in network.named_parameters() if weight.ndim > 1 and not weight.grad.any()
    ]
    assert unreached == []


@pytest.mark.parametrize(("name", "params"), KINDS)
def test_a_seed_decides_weights_and_features(name, params):
    frames = torch.rand(2, 3, 64, 64)

    def features_of_seed(seed):
        torch.manual_seed(seed)
        with torch.inference_mode():
            return build_backbone(name, params).eval()(frames)

    first = features_of_seed(7)
    assert torch.equal(first, features_of_seed(7))
    assert not torch.equal(first, features_of_seed(8))


@pytest.mark.parametrize(("name", "params"), KINDS)
def test_the_detector_reads_the_features_of_every_kind(name, params):
    detector = build_detector(name, params, label_count=3).eval()
    with torch.inference_mode():
        output = detector(torch.rand(2, 3, 96, 64))
    rebuilt = output.cam_BKhw.mean(dim=(2, 3)) + detector.head.bias
    torch.testing.assert_close(rebuilt, output.logits_BK, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_classifier_is_the_features_and_a_head(name):
    features, classifier = layout(name), layout(name, classes=5)
    assert classifier.eval()(torch.zeros(2, 3, 97, 224, device="meta")).shape == (2, 5)
    head = tuple(f"{child}." for child in classifier.head)
    shared = {key: value.shape for key, value in classifier.state_dict().items() if not key.startswith(head)}
    assert {key: value.shape for key, value in features.state_dict().items()} == shared
    assert {classifier.get_submodule(layer).out_features for layer in classifier.outputs} == {5}


@pytest.mark.parametrize("classes", [None, 5])
@pytest.mark.parametrize("name", BACKBONES)
def test_each_parameter_stands_in_one_stage(name, classes):
    network = layout(name, classes=classes)
    staged = [
        id(parameter)
        for modules in network.stages().values()
        for module in modules
        for parameter in module.parameters()
    ]
    assert sorted(staged) == sorted(id(parameter) for parameter in network.parameters())


@pytest.mark.parametrize("name", BACKBONES)
def test_stages_run_from_the_input_to_the_head(name):
    network = layout(name, classes=5)
    stages = list(network.stages().items())
    first = network.get_submodule(network.input_layer)
    assert any(first is part for module in stages[0][1] for part in module.modules())
    assert stages[-1] == ("head", [network.get_submodule(child) for child in network.head])


@pytest.mark.parametrize("build", [build_backbone, lambda *given: build_classifier(*given, 2)])
def test_an_unknown_name_is_refused(build):
    with pytest.raises(UnknownBackbone):
        build("alexandria", {})


def test_unknown_options_are_refused_by_pointer():
    with pytest.raises(SchemaError) as refused:
        build_backbone("resnet18", {"depth": 18})
    assert refused.value.pointer == "/depth"


def test_the_catalogue_lists_every_backbone_as_json():
    entries = json.loads(json.dumps(catalogue()))
    assert [entry["name"] for entry in entries] == list(BACKBONES)
    by_name = {entry["name"]: entry for entry in entries}
    assert by_name["resnet50"]["parameter_count"] == 23_508_032
    assert by_name["resnet50"]["stages"] == ["stem", "layer1", "layer2", "layer3", "layer4"]

"""State dicts carry torchvision's keys and shapes: rules from the papers' tables and its public key names."""

import pytest

from models.backbones.build import build_classifier
from models.backbones.shapes import shapes_only


def layer(name, *shape, bias=True):
    return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})


def norm(name, channels):
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{vector}": (channels,) for vector in vectors} | {f"{name}.num_batches_tracked": ()}


def alexnet():
    return {
        **layer("features.0", 64, 3, 11, 11),
        **layer("features.3", 192, 64, 5, 5),
        **layer("features.6", 384, 192, 3, 3),
        **layer("features.8", 256, 384, 3, 3),
        **layer("features.10", 256, 256, 3, 3),
        **layer("classifier.1", 4096, 9216),
        **layer("classifier.4", 4096, 4096),
        **layer("classifier.6", 1000, 4096),
    }


def vgg(numbers, channels, *, batch_norm):
    keys, inputs = {}, 3
    for number, outputs in zip(numbers, channels, strict=True):
        keys |= layer(f"features.{number}", outputs, inputs, 3, 3)
        keys |= norm(f"features.{number + 1}", outputs) if batch_norm else {}
        inputs = outputs
    head = layer("classifier.0", 4096, 25088) | layer("classifier.3", 4096, 4096)
    return keys | head | layer("classifier.6", 1000, 4096)


VGG16 = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
VGG19 = [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8


def resnet(blocks, *, bottleneck):
    keys = layer("conv1", 64, 3, 7, 7, bias=False) | norm("bn1", 64)
    inputs = 64
    for stage, (length, planes) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), 1):
        outputs = planes * (4 if bottleneck else 1)
        for number in range(length):
            name = f"layer{stage}.{number}"
            if bottleneck:
                shapes = [(planes, inputs, 1, 1), (planes, planes, 3, 3), (outputs, planes, 1, 1)]
            else:
                shapes = [(planes, inputs, 3, 3), (planes, planes, 3, 3)]
            for position, shape in enumerate(shapes, 1):
                keys |= layer(f"{name}.conv{position}", *shape, bias=False)
                keys |= norm(f"{name}.bn{position}", shape[0])
            if inputs != outputs:
                keys |= layer(f"{name}.downsample.0", outputs, inputs, 1, 1, bias=False)
                keys |= norm(f"{name}.downsample.1", outputs)
            inputs = outputs
    return keys | layer("fc", 1000, inputs)


def googlenet():
    def basic(name, *shape):
        return layer(f"{name}.conv", *shape, bias=False) | norm(f"{name}.bn", shape[0])

    keys = basic("conv1", 64, 3, 7, 7) | basic("conv2", 64, 64, 1, 1) | basic("conv3", 192, 64, 3, 3)
    table = {
        "3a": (192, 64, 96, 128, 16, 32, 32),
        "3b": (256, 128, 128, 192, 32, 96, 64),
        "4a": (480, 192, 96, 208, 16, 48, 64),
        "4b": (512, 160, 112, 224, 24, 64, 64),
        "4c": (512, 128, 128, 256, 24, 64, 64),
        "4d": (512, 112, 144, 288, 32, 64, 64),
        "4e": (528, 256, 160, 320, 32, 128, 128),
        "5a": (832, 256, 160, 320, 32, 128, 128),
        "5b": (832, 384, 192, 384, 48, 128, 128),
    }
    for module, (inputs, one, reduce_three, three, reduce_five, five, pool) in table.items():
        name = f"inception{module}"
        keys |= basic(f"{name}.branch1", one, inputs, 1, 1)
        keys |= basic(f"{name}.branch2.0", reduce_three, inputs, 1, 1)
        keys |= basic(f"{name}.branch2.1", three, reduce_three, 3, 3)
        keys |= basic(f"{name}.branch3.0", reduce_five, inputs, 1, 1)
        keys |= basic(f"{name}.branch3.1", five, reduce_five, 3, 3)
        keys |= basic(f"{name}.branch4.1", pool, inputs, 1, 1)
    for name, inputs in (("aux1", 512), ("aux2", 528)):
        keys |= basic(f"{name}.conv", 128, inputs, 1, 1)
        keys |= layer(f"{name}.fc1", 1024, 2048) | layer(f"{name}.fc2", 1000, 1024)
    return keys | layer("fc", 1000, 1024)


RULES = {
    "alexnet": alexnet(),
    "vgg16": vgg([0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28], VGG16, batch_norm=False),
    "vgg16_bn": vgg([0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40], VGG16, batch_norm=True),
    "vgg19": vgg([0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34], VGG19, batch_norm=False),
    "vgg19_bn": vgg([0, 3, 7, 10, 14, 17, 20, 23, 27, 30, 33, 36, 40, 43, 46, 49], VGG19, batch_norm=True),
    "googlenet": googlenet(),
    "resnet18": resnet([2, 2, 2, 2], bottleneck=False),
    "resnet34": resnet([3, 4, 6, 3], bottleneck=False),
    "resnet50": resnet([3, 4, 6, 3], bottleneck=True),
    "resnet101": resnet([3, 4, 23, 3], bottleneck=True),
    "resnet152": resnet([3, 8, 36, 3], bottleneck=True),
}


@pytest.mark.parametrize("name", RULES)
def test_keys_and_shapes_are_torchvisions(name):
    with shapes_only():
        state = build_classifier(name, {}, 1000).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == RULES[name]


@pytest.mark.parametrize(("name", "keys"), [("resnet18", 122), ("resnet50", 320)])
def test_the_rules_make_as_many_keys_as_the_public_files_have(name, keys):
    assert len(RULES[name]) == keys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from models.backbones.build import build_backbone, build_classifier
from models.backbones.stages import UnknownStage
from models.backbones.transfer import replace_head, warm_start

SMALL = {"width": 0.125}


@pytest.fixture
def published(tmp_path):
    """A published network of five classes and three channels, as a file."""
    torch.manual_seed(0)
    network = build_classifier("resnet10", SMALL, 5).eval()
    path = tmp_path / "published.safetensors"
    save_file(network.state_dict(), path)
    return network, load_file(path)


def test_the_same_network_loads_every_weight(published):
    network, state = published
    own = build_classifier("resnet10", SMALL, 5).eval()
    assert warm_start(own, state) == ()
    frames = torch.rand(2, 3, 64, 64)
    assert torch.equal(own(frames), network(frames))


def test_a_feature_extractor_leaves_the_head_in_the_file(published):
    network, state = published
    own = build_backbone("resnet10", SMALL).eval()
    assert warm_start(own, state) == ()
    frames = torch.rand(2, 3, 64, 64)
    assert torch.equal(network.fc(own(frames).mean(dim=(2, 3))), network(frames))


def test_another_number_of_classes_keeps_fresh_output_layers(published):
    _, state = published
    own = build_classifier("resnet10", SMALL, 2)
    before = own.fc.weight.clone()
    assert warm_start(own, state) == ("fc.weight", "fc.bias")
    assert torch.equal(own.fc.weight, before)
    assert torch.equal(own.layer4[0].conv1.weight, state["layer4.0.conv1.weight"])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_grey_frame_gives_the_same_features_whatever_the_number_of_channels(published, channels):
    network, state = published
    own = build_classifier("resnet10", SMALL | {"in_channels": channels}, 5).eval()
    warm_start(own, state)
    grey = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(own(grey.expand(-1, channels, -1, -1)), network(grey.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.pop("layer1.0.conv1.weight"),
        lambda state: state.update(surplus=torch.zeros(1)),
        lambda state: state.update({"bn1.weight": torch.zeros(3)}),
        lambda state: state.update({"conv1.weight": torch.zeros(3)}),
    ],
    ids=["missing", "surplus", "shape", "dimensions"],
)
@pytest.mark.parametrize("build", [build_backbone, lambda *given: build_classifier(*given, 5)])
def test_weights_of_another_architecture_are_refused(published, spoil, build):
    _, state = published
    spoil(state)
    with pytest.raises(RuntimeError, match="state_dict"):
        warm_start(build("resnet10", SMALL), state)


def test_a_new_head_replaces_every_output_layer_and_nothing_else():
    with torch.device("meta"):
        network = build_classifier("googlenet", {}, 1000)
    before = {key: value.shape for key, value in network.state_dict().items()}
    replace_head(network, 4)
    changed = {key for key, value in network.state_dict().items() if value.shape != before[key]}
    assert changed == {
        f"{layer}.{kind}" for layer in ("aux1.fc2", "aux2.fc2", "fc") for kind in ("weight", "bias")
    }


def test_a_replaced_head_inside_a_sequence_still_works():
    with torch.device("meta"):
        network = build_classifier("vgg16", {}, 1000)
        replace_head(network, 4)
        assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 4)


def learn(network, steps=2):
    optimiser = torch.optim.SGD([item for item in network.parameters() if item.requires_grad], lr=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        network(torch.rand(4, 3, 64, 64)).square().mean().backward()
        optimiser.step()


def changed_stages(network, before):
    after = network.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    names = {id(module): name for name, module in network.named_modules()}
    return {
        stage
        for stage, modules in network.stages().items()
        if any(key.startswith(f"{names[id(module)]}.") for module in modules for key in changed)
    }


def clone(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def test_frozen_stages_keep_weights_and_batch_statistics():
    network = build_backbone("resnet10", SMALL)
    network.freeze("stem", "layer1")
    nn.Sequential(network, nn.Flatten()).train()  # as a detector around it would
    before = clone(network)
    learn(network)
    assert changed_stages(network, before) == {"layer2", "layer3", "layer4"}


def test_unfrozen_stages_learn_again():
    network = build_backbone("resnet10", SMALL)
    network.freeze(*network.stages())
    network.unfreeze("layer4")
    before = clone(network)
    learn(network)
    assert changed_stages(network, before) == {"layer4"}


def test_evaluation_stays_evaluation_when_a_stage_is_unfrozen():
    network = build_backbone("resnet10", SMALL)
    network.freeze("stem")
    network.eval()
    network.unfreeze("stem")
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("act", ["freeze", "unfreeze"])
def test_an_unknown_stage_is_refused_and_nothing_changes(act):
    network = build_backbone("resnet10", SMALL)
    with pytest.raises(UnknownStage, match="layer4"):
        getattr(network, act)("stem", "layer5")
    assert all(parameter.requires_grad for parameter in network.parameters())

"""How a recipe's network starts and which of its stages learn."""

import dataclasses

import pytest
import torch

from models.artifacts import ArtifactRefused, save_tensors
from models.backbones.build import build_backbone, build_classifier
from models.backbones.dropout import NoDropout, set_dropout
from models.imaging.classifier import ImageClassifier, build_image_classifier
from models.imaging.detector import build_detector
from models.imaging.transfer_options import TransferOptions, WeightsFile, start_from
from models.schema import SchemaError
from models.training import TrainingConfig

SMALL = {"width": 0.125}
PLAIN = {"mean": (0.5,) * 3, "std": (0.25,) * 3}


def stored(path, state):
    return WeightsFile(path, save_tensors({key: value.clone() for key, value in state.items()}, path))


@pytest.fixture
def published(tmp_path):
    torch.manual_seed(0)
    network = build_classifier("resnet10", SMALL, 5)
    return network, stored(tmp_path / "published.safetensors", network.state_dict())


def test_options_are_those_of_the_loop():
    options = TransferOptions(freeze=("stem",), rate_decay=0.5, momentum=0.8, log_layer_norms=True)
    config = TrainingConfig(**options.loop_options())
    assert (config.freeze, config.rate_decay, config.momentum) == (("stem",), 0.5, 0.8)
    assert config.log_layer_norms


def test_published_weights_start_features_and_classifiers(published):
    network, file = published
    features, classifier = build_backbone("resnet10", SMALL), build_classifier("resnet10", SMALL, 5)
    assert start_from(features, file) == start_from(classifier, file) == ()
    for key, value in features.state_dict().items():
        assert torch.equal(value, network.state_dict()[key])
    assert torch.equal(classifier.fc.weight, network.fc.weight)


def test_another_number_of_classes_starts_with_a_fresh_output(published):
    _, file = published
    options = TransferOptions(initial_weights="a file")
    assert options.prepare(build_classifier("resnet10", SMALL, 2), file) == ("fc.weight", "fc.bias")


def test_a_version_of_ours_starts_another(tmp_path):
    torch.manual_seed(0)
    detector = build_detector("resnet10", SMALL, 4)
    classifier = build_image_classifier("resnet10", SMALL, 3, **PLAIN)
    of_detector = stored(tmp_path / "detector.safetensors", detector.state_dict())
    of_classifier = stored(tmp_path / "classifier.safetensors", classifier.state_dict())
    own = build_classifier("resnet10", SMALL, 3)
    fresh = own.fc.weight.clone()
    start_from(own, of_detector)
    assert torch.equal(own.conv1.weight, detector.backbone.conv1.weight)
    assert torch.equal(own.fc.weight, fresh)
    start_from(own, of_classifier)
    assert torch.equal(own.fc.weight, classifier.network.fc.weight)
    features = build_backbone("resnet10", SMALL)
    start_from(features, of_classifier)
    assert torch.equal(features.conv1.weight, classifier.network.conv1.weight)


def test_weights_of_another_architecture_are_refused(published):
    _, file = published
    with pytest.raises(ArtifactRefused) as refused:
        start_from(build_classifier("resnet18", SMALL, 5), file)
    assert refused.value.code == "weights_mismatch"


def test_a_tampered_file_is_refused(published):
    _, file = published
    data = bytearray(file.path.read_bytes())
    data[-1] ^= 1
    file.path.write_bytes(data)
    with pytest.raises(ArtifactRefused) as refused:
        start_from(build_classifier("resnet10", SMALL, 5), file)
    assert refused.value.code == "hash_mismatch"


def test_a_pickle_in_disguise_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    torch.save(build_classifier("resnet10", SMALL, 2).state_dict(), path)
    import hashlib

    file = WeightsFile(path, hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ArtifactRefused) as refused:
        start_from(build_classifier("resnet10", SMALL, 2), file)
    assert refused.value.code in {"not_safetensors", "header_too_large"}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"freeze": ("stem", "layer9")}, "/freeze"),
        ({"freeze": ("stem", "layer1", "layer2", "layer3", "layer4", "head")}, "/freeze"),
        ({"initial_weights": "a file nobody fetched"}, "/initial_weights"),
    ],
)
def test_what_cannot_be_done_is_refused_where_it_is_wrong(changes, pointer):
    with pytest.raises(SchemaError) as refused:
        TransferOptions(**changes).prepare(build_classifier("resnet10", SMALL, 2), None)
    assert refused.value.pointer == pointer


def test_a_detector_may_freeze_all_of_its_backbone():
    backbone = build_backbone("resnet10", SMALL)
    assert TransferOptions(freeze=tuple(backbone.stages())).prepare(backbone, None) == ()


def test_the_rate_of_dropout_reaches_every_layer_that_has_one():
    with torch.device("meta"):
        network = build_classifier("googlenet", {}, 3)
    set_dropout(network, 0.1)
    rates = [layer.p for layer in network.modules() if isinstance(layer, torch.nn.Dropout)]
    assert rates == [0.1, 0.1, 0.1]
    with pytest.raises(NoDropout):
        set_dropout(build_classifier("resnet10", SMALL, 2), 0.1)


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    network = build_classifier("alexnet", {}, 2)
    set_dropout(network, 0.9)
    frames = torch.rand(1, 3, 63, 63)
    network.train()
    assert not torch.equal(network(frames), network(frames))
    network.eval()
    assert torch.equal(network(frames), network(frames))


def test_ten_crops_are_answered_by_the_mean_of_their_probabilities():
    torch.manual_seed(0)
    network = build_classifier("resnet10", SMALL, 3).eval()
    classifier = ImageClassifier(network, **PLAIN, test_time="ten-crop", crop_px=32).eval()
    frames = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    normal = (frames.float() / 255 - 0.5) / 0.25
    probabilities = []
    for mirrored in (False, True):
        for top, left in ((0, 0), (0, 8), (8, 0), (8, 8), (4, 4)):
            crop = normal[:, :, top : top + 32, left : left + 32]
            probabilities.append(network(crop.flip(3) if mirrored else crop).softmax(dim=1))
    expected = torch.stack(probabilities).mean(dim=0)
    with torch.no_grad():
        answer = classifier(frames)
    torch.testing.assert_close(answer.logits_BK.softmax(dim=1), expected)
    assert answer.cam_BKhw.shape == (2, 3, 0, 0)
    assert answer.embedding_BD.shape == (2, 0)


def test_a_single_view_gives_the_networks_own_logits():
    torch.manual_seed(0)
    network = build_classifier("resnet10", SMALL, 3).eval()
    frames = torch.rand(2, 3, 40, 40)
    normal = (frames - 0.5) / 0.25
    whole = ImageClassifier(network, **PLAIN)
    centre = ImageClassifier(network, **PLAIN, test_time="centre", crop_px=32)
    assert torch.equal(whole(frames).logits_BK, network(normal))
    assert torch.equal(centre(frames).logits_BK, network(normal[:, :, 4:36, 4:36]))


def test_googlenet_learns_with_its_auxiliary_heads():
    torch.manual_seed(0)
    classifier = build_image_classifier("googlenet", {}, 3, **PLAIN)
    heads = classifier.all_logits(torch.rand(2, 3, 32, 32))
    assert [weight for weight, _ in heads] == [1.0, 0.3, 0.3]
    assert all(logits.shape == (2, 3) for _, logits in heads)
    sum(weight * logits.square().sum() for weight, logits in heads).backward()
    assert classifier.network.aux1.fc2.weight.grad is not None


def test_a_way_to_look_that_does_not_exist_is_refused():
    for given in ({"test_time": "twenty-crop"}, {"test_time": "centre"}):
        with pytest.raises(SchemaError):
            build_image_classifier("resnet10", SMALL, 2, **PLAIN, **given)


def test_the_options_have_defaults_that_change_nothing():
    defaults = {field.name: field.default for field in dataclasses.fields(TransferOptions)}
    config = TrainingConfig()
    assert all(defaults[name] == getattr(config, name) for name in TransferOptions().loop_options())

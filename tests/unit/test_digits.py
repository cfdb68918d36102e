"""Why convolution and pooling help, on the smallest real pictures there are."""

import pytest
import torch
from torch import nn

from benchmarks.digits import SIDE_PX, compare, read_digits
from models.backbones.mlp import MLP


@pytest.mark.parametrize(
    ("widths", "with_bias", "without"), [((10, 2, 1), 25, 22), ((10, 25, 25, 1), 951, 900)]
)
def test_perceptrons_have_the_published_counts(widths, with_bias, without):
    def count(bias):
        return sum(parameter.numel() for parameter in MLP(widths, bias=bias).parameters())

    assert (count(True), count(False)) == (with_bias, without)


def test_a_perceptron_is_dense_layers_with_a_function_between_them():
    torch.manual_seed(0)
    network = MLP((3, 4, 2), activation=nn.Tanh)
    first, last = (layer for layer in network.layers if isinstance(layer, nn.Linear))
    inputs = torch.randn(5, 3)
    expected = torch.tanh(inputs @ first.weight.T + first.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(network(inputs), expected)


def test_the_digits_lie_in_the_middle_and_no_frame_is_on_two_sides():
    digits = read_digits(0)
    assert {side: len(frames) for side, frames in digits.frames.items()} == {
        "test": 500,
        "tune": 200,
        "train": 1097,
    }
    frames = torch.cat(list(digits.frames.values()))
    assert frames.shape[1:] == (1, SIDE_PX, SIDE_PX)
    assert frames.sum() == frames[:, :, 2:-2, 2:-2].sum()


def test_a_small_cnn_loses_less_than_a_perceptron_when_digits_move():
    found = compare([0, 1, 2], epochs=8)
    cnn, mlp = found["cnn"], found["mlp"]
    assert cnn["parameters"] <= mlp["parameters"]
    assert cnn["median_accuracy"][0] > 0.9
    assert mlp["median_accuracy"][0] > 0.9
    for distance in (1, 2):
        lost = [net["median_accuracy"][0] - net["median_accuracy"][distance] for net in (cnn, mlp)]
        assert lost[0] < lost[1]
        assert cnn["median_accuracy"][distance] > mlp["median_accuracy"][distance]

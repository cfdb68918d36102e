"""Multi-layer perceptron: dense layers with a function between them."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn


class MLP(nn.Module):
    """Dense layers of the given widths; the last one is linear.

    Args:
        widths: inputs, hidden layers, outputs; at least two.
        bias: whether each unit has a threshold of its own.
        activation: makes the function behind each hidden layer.
    """

    def __init__(
        self, widths: Sequence[int], *, bias: bool = True, activation: Callable[[], nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            if number:
                self.layers.append(activation())
            self.layers.append(nn.Linear(inputs, outputs, bias=bias))

    def forward(self, inputs_BF: torch.Tensor) -> torch.Tensor:
        """Map [B, widths[0]], float, to [B, widths[-1]]."""
        outputs: torch.Tensor = self.layers(inputs_BF)
        return outputs

"""How the weights of a network are drawn before training."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

Scheme = Literal["small-random", "xavier", "he"]


def _small_random(weight: torch.Tensor) -> torch.Tensor:
    return nn.init.normal_(weight, std=0.01)  # Krizhevsky et al. 2012, section 5


def _he(weight: torch.Tensor) -> torch.Tensor:
    return nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu")  # He et al. 2015, equation 10


_DRAWS: dict[Scheme, Callable[[torch.Tensor], torch.Tensor]] = {
    "small-random": _small_random,
    "xavier": nn.init.xavier_normal_,  # Glorot and Bengio 2010, equation 12
    "he": _he,
}


def initialise(module: nn.Module, scheme: Scheme) -> None:
    """Draw the weights of every convolution and dense layer anew; their biases become 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            _DRAWS[scheme](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

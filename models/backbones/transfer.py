"""Transfer learning: start from published weights, and put another head on them.

Stages are frozen by name (`StagedNetwork.freeze`).
"""

from collections.abc import Mapping

import torch
from torch import nn

from models.backbones.stages import StagedNetwork


def warm_start(network: StagedNetwork, published: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Load a published network's weights, strictly, into a feature extractor or a classifier.

    Three things may differ: the head, which may be missing here; the number of classes (those layers stay
    fresh); the input channels (each gets the average kernel, scaled so that grey frames give what they gave).

    Returns:
        The keys that kept their fresh weights.

    Raises:
        RuntimeError: anything else differs; torch names the keys.
    """
    own = network.state_dict()
    head = tuple(f"{name}." for name in network.head)
    state = {key: value for key, value in published.items() if key in own or not key.startswith(head)}
    first = f"{network.input_layer}.weight"
    if first in state and state[first].ndim == own[first].ndim:
        state[first] = _spread(state[first], own[first].shape[1])
    outputs = [f"{layer}.{kind}" for layer in network.outputs for kind in ("weight", "bias")]
    fresh = tuple(
        key for key in outputs if key in own and key in state and own[key].shape != state[key].shape
    )
    network.load_state_dict(state | {key: own[key] for key in fresh}, strict=True)
    return fresh


def replace_head(network: StagedNetwork, classes: int) -> None:
    """Put fresh output layers for `classes` classes into a published network; all else stays as it is."""
    for name in network.outputs:
        parent_name, _, child = name.rpartition(".")
        parent = network.get_submodule(parent_name)
        old = getattr(parent, child)
        new = nn.Linear(old.in_features, classes, device=old.weight.device, dtype=old.weight.dtype)
        nn.init.normal_(new.weight, std=0.01)
        nn.init.zeros_(new.bias)
        setattr(parent, child, new)


def _spread(kernels_OIhw: torch.Tensor, channels: int) -> torch.Tensor:
    published = kernels_OIhw.shape[1]
    if published == channels:
        return kernels_OIhw
    return kernels_OIhw.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1) * (published / channels)

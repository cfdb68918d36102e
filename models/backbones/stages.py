"""What the networks here have in common: named stages that can be frozen, and a head that may be missing.

Discriminative learning rates take their groups from the same names.
"""

from collections.abc import Iterable
from typing import ClassVar, Self

from torch import nn


class UnknownStage(ValueError):
    """The network has no stage of that name."""

    def __init__(self, known: Iterable[str]) -> None:
        super().__init__(f"No such stage: name one of {', '.join(known)}.")


class StagedNetwork(nn.Module):
    """A network that names its stages from input to output.

    Attributes:
        feature_channels: D of the feature grid [B, D, h, w].
        input_layer: the first convolution, which fixes the number of input channels.
        head: the children behind the features; a feature extractor leaves them out.
        outputs: the dense layers as wide as there are classes; they exist in the published form only.
    """

    feature_channels: int
    input_layer: ClassVar[str]
    head: ClassVar[tuple[str, ...]]
    outputs: ClassVar[tuple[str, ...]]
    frozen: frozenset[str] = frozenset()

    def feature_stages(self) -> dict[str, list[nn.Module]]:
        """Modules by stage, from input to output, without the head; each parameter in exactly one."""
        raise NotImplementedError

    def stages(self) -> dict[str, list[nn.Module]]:
        """Modules by stage, from input to output; the published form ends with `head`."""
        children = dict(self.named_children())
        head = [children[name] for name in self.head if name in children]
        return self.feature_stages() | ({"head": head} if head else {})

    def freeze(self, *names: str) -> None:
        """Stop these stages from learning: no gradient, and batch statistics stay as they are."""
        self._set_trainable(names, trainable=False)
        self.frozen |= set(names)
        self.train(self.training)

    def unfreeze(self, *names: str) -> None:
        """Let these stages learn again."""
        self._set_trainable(names, trainable=True)
        self.frozen -= set(names)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; frozen stages stay in evaluation."""
        super().train(mode)
        stages = self.stages() if self.frozen else {}
        for name in self.frozen:
            for module in stages[name]:
                module.eval()
        return self

    def _set_trainable(self, names: Iterable[str], *, trainable: bool) -> None:
        stages = self.stages()
        if not stages.keys() >= set(names):
            raise UnknownStage(stages)
        for name in names:
            for module in stages[name]:
                module.requires_grad_(trainable)


def find_network(module: nn.Module) -> StagedNetwork | None:
    """The network with stages that a model is built on, which may be the model itself."""
    return next((part for part in module.modules() if isinstance(part, StagedNetwork)), None)


def parameters_by_stage(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """All parameters of a model by stage, from input to output.

    What lies outside the network's own stages (a detector's dense layer) belongs to `head`. A model without
    stages is taken apart by its children; parameters of its own stand under `own`.
    """
    network = find_network(module)
    if network is None:
        parts = {name: list(child.parameters()) for name, child in module.named_children()}
        rest = "own"
    else:
        parts = {
            name: [parameter for part in stage for parameter in part.parameters()]
            for name, stage in network.stages().items()
        }
        rest = "head"
    staged = {id(parameter) for parameters in parts.values() for parameter in parameters}
    outside = [parameter for parameter in module.parameters() if id(parameter) not in staged]
    parts[rest] = parts.get(rest, []) + outside
    return {name: parameters for name, parameters in parts.items() if parameters}

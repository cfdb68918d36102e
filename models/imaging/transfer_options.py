"""Options that recipes over a backbone share: how its stages learn, and which weights they start from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from models.artifacts import ArtifactRefused, load_weights
from models.backbones.stages import StagedNetwork
from models.backbones.transfer import warm_start
from models.schema import SchemaError, bounded

Normalisation = Literal["capsule", "imagenet", "half"]

# Mean and spread per channel. Public weights go on only with what they were trained with: ImageNet's
# constants, and for GoogLeNet a scale of -1 to 1.
NORMALISATIONS: Mapping[Normalisation, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "capsule": ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
# Where our own models keep their network.
_PREFIXES = ("backbone.", "network.")


@dataclass(frozen=True)
class WeightsFile:
    """A safetensors file on this disk and the hash it must have."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class TransferOptions:
    """What may be said of a backbone's learning; the defaults train all of it alike, from fresh weights."""

    initial_weights: str | None = bounded(
        None, doc="file id of safetensors with a published network's keys, or a version as NAME:VERSION"
    )
    normalisation: Normalisation = "capsule"
    freeze: tuple[str, ...] = ()
    unfreeze_after_epoch: int | None = bounded(None, minimum=1, doc="epochs until frozen stages learn too")
    rate_decay: float = bounded(1.0, minimum=0.01, maximum=1, doc="of the rate, per stage below the head")
    momentum: float = bounded(0.9, minimum=0, maximum=0.9999, doc="for sgd")
    log_layer_norms: bool = False

    def loop_options(self) -> dict[str, Any]:
        """The part of it that `models.training.TrainingConfig` takes."""
        names = ("freeze", "unfreeze_after_epoch", "rate_decay", "momentum", "log_layer_norms")
        return {name: getattr(self, name) for name in names}

    def prepare(self, network: StagedNetwork, weights: WeightsFile | None) -> tuple[str, ...]:
        """Check the stages' names and load the weights to start from, where some were named.

        Returns:
            Keys that kept their fresh weights although a head was in the file.

        Raises:
            SchemaError: `/freeze` names what is not there, or leaves nothing to learn; `/initial_weights`
                names a file that nobody fetched.
            ArtifactRefused: the file is not what was named, no safetensors, or of another architecture.
        """
        known = network.stages()
        if unknown := set(self.freeze) - set(known):
            raise SchemaError("/freeze", f"has no stage {min(unknown)!r}: name some of {', '.join(known)}")
        # A feature extractor is never all there is to learn: its model's own head goes on.
        if "head" in known and set(self.freeze) == set(known):
            raise SchemaError("/freeze", "leaves nothing to learn")
        if (self.initial_weights is None) != (weights is None):
            raise SchemaError("/initial_weights", "was not fetched for this run")
        return () if weights is None else start_from(network, weights)


def start_from(network: StagedNetwork, weights: WeightsFile) -> tuple[str, ...]:
    """Load a published network's weights, or those under a version of ours, into a network.

    A head that the file lacks stays fresh, as do output layers for another number of classes.

    Raises:
        ArtifactRefused: see `models.artifacts.load_weights`; `weights_mismatch` for another architecture.
    """
    state = _of_network(load_weights(weights.path, weights.sha256))
    head = tuple(f"{name}." for name in network.head)
    own = {key: value for key, value in network.state_dict().items() if key.startswith(head)}
    if not any(key.startswith(head) for key in state):
        state |= own
    try:
        return warm_start(network, state)
    except RuntimeError as error:
        raise ArtifactRefused(
            "weights_mismatch", "the weights to start from belong to another architecture"
        ) from error


def _of_network(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in _PREFIXES:
        inner = {key.removeprefix(prefix): item for key, item in state.items() if key.startswith(prefix)}
        if inner:
            return inner
    return state

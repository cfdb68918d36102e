"""Another rate for the dropout that a published network has (Srivastava et al. 2014)."""

from torch import nn


class NoDropout(ValueError):
    """The network was published without dropout: a rate would change nothing."""


def set_dropout(network: nn.Module, rate: float) -> None:
    """Give every dropout layer, those of auxiliary heads included, this rate; raises NoDropout."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]
    if not layers:
        raise NoDropout
    for layer in layers:
        layer.p = rate

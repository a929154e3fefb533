"""What the temporal layers of a trained network do, and the network without some of them."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from mav_lightning.nn.pseudo3d import PseudoAttention3d, PseudoConv3d

__all__ = ["knock_out", "temporal_activity", "temporal_layers"]


def temporal_layers(network: nn.Module) -> dict[str, PseudoConv3d | PseudoAttention3d]:
    """The layers of `network` that mix frames, by name, in the order they were built."""
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, PseudoConv3d | PseudoAttention3d) and layer.temporal is not None
    }


def temporal_activity(network: nn.Module) -> dict[str, float]:
    """How far each temporal layer of `network` is from doing nothing, from its weights alone; 0 at the identity start.

    Compare layers of one kind: a convolution's is the distance of its kernel from the identity, attention's the norm of
    its output projection.
    """
    return {name: layer.temporal_activity() for name, layer in temporal_layers(network).items()}


def knock_out(network: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Makes the temporal part of some layers do nothing, in place.

    Args:
        network: Whose layers.
        patterns: Names as `temporal_layers` gives them, with ``*`` for anything.

    Returns:
        The layers knocked out.

    Raises:
        ValueError: A pattern that is no layer's name.
    """
    layers = temporal_layers(network)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise ValueError(f"no temporal layer is called `{pattern}`; there are: {', '.join(layers) or 'none'}.")
    chosen = [name for name in layers if any(fnmatchcase(name, pattern) for pattern in patterns)]
    for name in chosen:
        layers[name].forget_time()
    return chosen

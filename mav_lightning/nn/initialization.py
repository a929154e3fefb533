"""Initial weights that depend on a layer's own name and on no other layer."""

import functools
import hashlib
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["drawn_by_name"]

N = TypeVar("N", bound=nn.Module)
P = ParamSpec("P")


def drawn_by_name(init: Callable[Concatenate[N, P], None]) -> Callable[Concatenate[N, P], None]:
    """Decorates a network's constructor: every layer starts as the ambient seed and its own name say.

    PyTorch draws weights in the order layers are made, so a network with one layer less starts from other weights
    everywhere behind it. Two variants of an ablation that share a seed must differ in what is ablated and in nothing
    else. The constructor takes one number from PyTorch's generator, however many layers it makes.

    What the constructor set on purpose, to zero or to the identity, stays as it is.
    """

    @functools.wraps(init)
    def drawn(self: N, *args: P.args, **kwargs: P.kwargs) -> None:
        seed = int(torch.randint(2**62, (), device="cpu"))
        with torch.random.fork_rng(devices=[]):
            init(self, *args, **kwargs)
            for name, layer in self.named_modules():
                _draw(layer, f"{seed}/{name}")

    return drawn


def _draw(layer: nn.Module, key: str) -> None:
    reset = getattr(layer, "reset_parameters", None)
    own = list(layer.parameters(recurse=False))
    if reset is None or any(value.is_meta for value in own):
        return
    meant = [(value, value.detach().clone()) for value in own if _is_set(value)]
    torch.manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big", signed=True))
    reset()
    with torch.no_grad():
        for value, before in meant:
            value.copy_(before)


def _is_set(value: Tensor) -> bool:
    """Whether a weight holds zeros and ones only, as no draw does."""
    return bool(((value == 0) | (value == 1)).all())

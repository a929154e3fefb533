"""Initial weights that depend on a layer's name and on no other layer."""

import functools
import hashlib
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

__all__ = ["init_by_name", "zero_init"]

N = TypeVar("N", bound=nn.Module)
P = ParamSpec("P")


@runtime_checkable
class _Resettable(Protocol):
    def reset_parameters(self) -> None: ...


def init_by_name(init: Callable[Concatenate[N, P], None]) -> Callable[Concatenate[N, P], None]:
    """Decorate a network's constructor so that each layer's initial weights depend on the seed and its name only.

    PyTorch draws weights in the order in which layers are built, so removing one layer changes the initial weights of
    all later ones. Variants of an ablation that share a seed must differ in the ablated layers only. The constructor
    takes one number from PyTorch's global generator, however many layers it builds.

    Weights that the constructor sets to constants 0 or 1 (zero or identity initialization) are kept.
    """

    @functools.wraps(init)
    def seeded(self: N, /, *args: P.args, **kwargs: P.kwargs) -> None:
        seed = int(torch.randint(2**62, (), device="cpu"))
        with torch.random.fork_rng(devices=[]):
            init(self, *args, **kwargs)
            for name, layer in self.named_modules():
                _reset(layer, f"{seed}/{name}")

    return seeded


def zero_init(layer: nn.Linear | nn.Conv2d) -> None:
    """Set the weight and bias of a layer to zero, so that its output starts without effect."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _reset(layer: nn.Module, key: str) -> None:
    own = list(layer.parameters(recurse=False))
    if not isinstance(layer, _Resettable) or any(value.is_meta for value in own):
        return
    constants = [(value, value.detach().clone()) for value in own if _is_constant(value)]
    torch.manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big", signed=True))
    layer.reset_parameters()
    with torch.no_grad():
        for value, before in constants:
            value.copy_(before)


def _is_constant(value: Tensor) -> bool:
    """Whether a weight holds zeros and ones only, as no random draw does."""
    return bool(((value == 0) | (value == 1)).all())

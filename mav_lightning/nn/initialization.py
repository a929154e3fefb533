"""Initial weights that depend on a layer's name and on no other layer."""

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["init_by_name", "without_draws", "zero_init"]

N = TypeVar("N", bound=nn.Module)
P = ParamSpec("P")


_UNDRAWN: ContextVar[bool] = ContextVar("_UNDRAWN", default=False)
# What PyTorch's layers fill their weights by; of `nn.init`, those that hand over to a mode before they draw.
_DRAWS = {nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_, Tensor.normal_, Tensor.uniform_}


class _NoDraws(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


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
        if _UNDRAWN.get():
            return init(self, *args, **kwargs)
        seed = int(torch.randint(2**62, (), device="cpu"))
        with torch.random.fork_rng(devices=[]):
            init(self, *args, **kwargs)
            for name, layer in self.named_modules():
                _reset(layer, f"{seed}/{name}")

    return seeded


@contextmanager
def without_draws() -> Iterator[None]:
    """Build networks whose random initial weights are left as allocated, because stored ones replace all of them.

    Drawing them takes far longer than reading them: nearly all of the time in which a network of millions of weights
    is built.
    """
    token = _UNDRAWN.set(True)
    try:
        with _NoDraws():
            yield
    finally:
        _UNDRAWN.reset(token)


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

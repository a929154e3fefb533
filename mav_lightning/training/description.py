"""Descriptions of objects as plain data, by which a training started from Python is recognized on resuming."""

import functools
import hashlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from types import MethodType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelPruning,
    StochasticWeightAveraging,
    WeightAveraging,
)
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mav_lightning.common.hashing import tensors_sha256
from mav_lightning.common.own_code import base_names, code_sha256, is_own

__all__ = [
    "HasContent",
    "HasIdentity",
    "configured",
    "describe",
    "describe_callbacks",
    "describe_data",
    "describe_module",
    "describe_optimizers",
    "with_content",
]

_DEPTH = 8  # no object that holds settings is nested deeper
_LONGEST = 1000  # items or characters that are written out; of more, there is the sha256
# Attributes that Lightning and PyTorch give their own objects, and settings of readers that never change a batch.
_OTHERS = {
    *("training", "trainer", "prepare_data_per_node", "allow_zero_length_dataloader_with_multiple_devices"),
    *("workers", "num_workers", "cache_bytes", "cache_mb", "pin_memory", "timeout"),
}


# Callbacks of Lightning that change weights or batches; most others only look.
_CHANGING = (
    *(BaseFinetuning, BatchSizeFinder, GradientAccumulationScheduler, LearningRateFinder),
    *(ModelPruning, StochasticWeightAveraging, WeightAveraging),
)


@runtime_checkable
class HasIdentity(Protocol):
    """An object that describes what its results depend on, in place of its public attributes."""

    def identity(self) -> Mapping[str, Any]:
        """Return the description as plain data, the same for every object built from the same arguments."""
        ...


@runtime_checkable
class HasContent(Protocol):
    """A data module that knows what it reads."""

    def content_sha256(self) -> Mapping[str, str]:
        """Return argument, dotted if nested, that names a location → sha256 of what is read there."""
        ...


def describe(value: Any, depth: int = _DEPTH) -> Any:
    """Describe an object by its class and attributes, recursively, as plain data.

    Tensors, arrays and frozen networks count by their content, and paths do not count. Classes and functions count by
    their name and, if they are the user's own, by their code. Attributes whose name begins with an underscore count for
    the user's own classes only. An object with a method `identity` describes itself in place of its attributes.

    Args:
        value: The object.
        depth: Number of levels of nested attributes to include.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Path) or depth == 0:
        return None
    if isinstance(value, Mapping):
        return _shortened({str(key): describe(item, depth - 1) for key, item in value.items()})
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return _shortened([describe(item, depth - 1) for item in items])
    if isinstance(value, type | functools.partial) or inspect.isroutine(value):
        return _describe_call(value, depth)
    return _describe_object(value, depth)


def describe_module(module: LightningModule) -> dict[str, Any]:
    """Describe the module of a training: its class, hyperparameters, layers, and names and shapes of its weights.

    The description leaves out the values of weights that the checkpoint holds. It includes those of networks that the
    module uses without training or saving them, such as an image encoder.
    """
    if isinstance(module, HasIdentity):
        return {**_kind(module), **describe(dict(module.identity()))}
    layers = {name: layer for name, layer in module.named_modules() if name}
    shapes = {name: f"{str(value.dtype)[6:]} {tuple(value.shape)}" for name, value in module.state_dict().items()}
    frozen = [name for name, weight in module.named_parameters() if not weight.requires_grad]
    return {
        **_kind(module),
        "hyperparameters": describe(dict(module.hparams)),
        **_attributes(module, _DEPTH - 1),
        "layers": {name: _layer(layer) for name, layer in layers.items()},
        "weights": shapes,
        "frozen": frozen,
    }


def describe_data(data: LightningDataModule) -> dict[str, Any]:
    """Describe a data module by its class, arguments and, if it knows it, the content of what it reads."""
    described: dict[str, Any] = describe(data)
    return with_content(described, data)


def with_content(described: Mapping[str, Any], data: LightningDataModule) -> dict[str, Any]:
    """Replace the locations in a description of a data module by the sha256 of what it reads there."""
    found = {**described}
    for argument, sha256 in (data.content_sha256() if isinstance(data, HasContent) else {}).items():
        *parents, last = argument.split(".")
        node = found
        for parent in parents:
            node[parent] = node = {**node.get(parent, {})}
        node[last] = f"sha256 {sha256}"
    return found


def describe_optimizers(module: LightningModule) -> list[dict[str, Any]]:
    """Describe the optimizers and schedules that a module configures; empty if it needs a trainer for that."""
    return [
        _describe_optimizer(one) if isinstance(one, Optimizer) else _describe_schedule(one)
        for one in configured(module, (Optimizer, LRScheduler))
    ]


def describe_callbacks(callbacks: Iterable[Callback]) -> dict[str, Any]:
    """Describe the callbacks that can change a result: some of Lightning's, and those with a method `identity`.

    Returns:
        The list of them as ``callbacks``; empty if there are none.
    """
    counting = [one for one in callbacks if isinstance(one, (HasIdentity, *_CHANGING))]
    own = [describe(one) if isinstance(one, HasIdentity) else _with_hidden(one) for one in counting]
    return {"callbacks": own} if own else {}


def configured(module: LightningModule, kinds: type | tuple[type, ...]) -> list[Any]:
    """Return the optimizers or schedules that a module configures; empty if it needs a trainer for that."""
    try:
        made = module.configure_optimizers()
    except Exception:  # whatever a module raises that relies on a trainer
        return []
    return _found(made, kinds)


def _describe_call(value: Any, depth: int) -> Any:
    if isinstance(value, functools.partial):
        positional = {"args": describe(value.args, depth - 1)} if value.args else {}
        return {"call": _coded(value.func), **positional, **describe(value.keywords, depth - 1)}
    if isinstance(value, MethodType):
        return {"call": _coded(value), "of": describe(value.__self__, depth - 1)}
    return _coded(value)


def _describe_object(value: Any, depth: int) -> Any:
    if isinstance(value, Enum):
        return f"{_name(type(value))}.{value.name}"
    if isinstance(value, Tensor) or hasattr(value, "__array__"):
        return _describe_array(value, depth)
    if isinstance(value, HasIdentity):
        return {**_kind(value), **describe(dict(value.identity()), depth - 1)}
    if isinstance(value, nn.Module):
        return {**_kind(value), "weights": f"sha256 {tensors_sha256(value.state_dict())}"}
    attributes = _attributes(value, depth - 1)
    text = repr(value) if not attributes and not hasattr(value, "__dict__") else ""
    return _shortened(text) if text and " at 0x" not in text else {**_kind(value), **attributes}


def _describe_array(value: Any, depth: int) -> Any:
    """Return the hash of what a tensor or array holds, or that of a table holds as an array."""
    if isinstance(value, Tensor):
        if value.is_meta:
            return f"{value.dtype} {tuple(value.shape)}"
        return f"sha256 {tensors_sha256({'': value if value.layout == torch.strided else value.to_dense()})}"
    if isinstance(value, np.generic):
        return describe(value.item(), depth - 1)
    array = np.asarray(value)
    if array.dtype.kind in "biufc" and array.dtype.itemsize <= 16:
        return f"sha256 {tensors_sha256({'': torch.as_tensor(array)})}"
    return _sha256(f"{array.dtype} {array.shape} {describe(array.ravel().tolist(), depth - 1)}")


def _attributes(value: Any, depth: int) -> dict[str, Any]:
    slots = [name for base in type(value).__mro__ for name in getattr(base, "__slots__", ()) if hasattr(value, name)]
    others = _OTHERS | base_names(type(value))
    hidden = is_own(type(value))
    names = [
        name
        for name in (*getattr(value, "__dict__", {}), *slots)
        if name not in (others if name.startswith("_") else _OTHERS) and (hidden or not name.startswith("_"))
    ]
    return {name: describe(getattr(value, name), depth) for name in names}


def _with_hidden(value: Any) -> dict[str, Any]:
    """Describe an object by all of its attributes, as Lightning's callbacks hide their settings."""
    return {**_kind(value), **{name: describe(item, 3) for name, item in vars(value).items()}}


def _layer(layer: nn.Module) -> str:
    """Return a layer's class and its settings in one line."""
    plain = {name: item for name, item in _attributes(layer, 2).items() if not isinstance(item, Mapping)}
    if is_own(type(layer)):
        plain["code"] = _code(type(layer))
    return f"{type(layer).__name__}({', '.join(f'{name}={plain[name]!r}' for name in sorted(plain))})"


def _describe_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    groups = [
        {name: describe(item, 2) for name, item in group.items() if name != "params"}
        | {"weights": len(group["params"])}
        for group in optimizer.param_groups
    ]
    return {**_kind(optimizer), "groups": groups}


def _describe_schedule(schedule: LRScheduler) -> dict[str, Any]:
    described = {**_kind(schedule), **describe(schedule.state_dict(), 4)}
    if lambdas := getattr(schedule, "lr_lambdas", None):  # the state holds the attributes of objects, and no functions
        described["lr_lambdas"] = [
            describe(one) if saved is None else saved
            for one, saved in zip(lambdas, described["lr_lambdas"], strict=True)
        ]
    if parts := getattr(schedule, "_schedulers", None):
        described["schedules"] = [_describe_schedule(part) for part in parts]
    return described


def _found(value: Any, kinds: type | tuple[type, ...]) -> list[Any]:
    """Return the objects of some classes in nested containers and dataclasses, in order."""
    if isinstance(value, kinds):
        return [value]
    if isinstance(value, Mapping):
        return [one for item in value.values() for one in _found(item, kinds)]
    if isinstance(value, list | tuple):
        return [one for item in value for one in _found(item, kinds)]
    return _found(vars(value), kinds) if hasattr(value, "scheduler") else []


def _name(value: type | Callable[..., Any]) -> str:
    return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__name__)}"


def _kind(value: Any) -> dict[str, str]:
    """Return an object's class, and the hash of its code if it is the user's own."""
    return {"class": _name(type(value)), **({"code": _code(type(value))} if is_own(type(value)) else {})}


def _coded(value: type | Callable[..., Any]) -> str:
    """Return the name of a class or function, and the hash of its code if it is the user's own."""
    return f"{_name(value)}, code {_code(value)}" if code_sha256(value) else _name(value)


def _code(value: Any) -> str:
    return str(code_sha256(value))[:16]


def _shortened(value: Any) -> Any:
    return value if len(value) <= _LONGEST else _sha256(repr(value))


def _sha256(text: str) -> str:
    return f"sha256 {hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"

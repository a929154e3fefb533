"""Nodes: mappings that describe an object, checked against the signature of its class and built on demand.

A node is ``{_target_: CLASS, argument: value, …}``, with ``_partial_: true`` where whoever gets it gives the other
arguments, or ``{_network_: FOLDER}``, the trained network stored in a folder. The value ``???`` marks an argument that
the user must still give.
"""

import collections.abc
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from mav_lightning.common.configs import leaves
from mav_lightning.common.errors import UserError
from mav_lightning.common.hints import Misfit, WrongClass, describe
from mav_lightning.common.own_code import raised_at
from mav_lightning.common.schema import check, check_call, located
from mav_lightning.config.targets import locate

__all__ = ["MISSING", "arguments_of", "check_arguments", "check_networks", "check_node", "instantiate"]

_MARKS = ("_target_", "_partial_")
MISSING = "???"  # an argument that whoever runs the stage must give
_accepted: set[str] = set()  # networks that were built; the trials of a study share most of theirs


def instantiate(node: Any, hint: Any = Any, path: str = "") -> Any:
    """Build what a node describes, children first; plain values and lists pass through.

    Args:
        node: A node, or plain data that holds nodes.
        hint: Class that the node must build.
        path: Dotted path of the node, for messages.

    Raises:
        UserError: If the node does not fit its class, or the class rejects its arguments.
    """
    return check(node, hint, path, functools.partial(_visit, build=True))


def check_node(node: Any, hint: Any, path: str) -> None:
    """Check a node and all nodes inside it without building anything.

    Raises:
        UserError: If a key or a value does not fit the signature of the class.
    """
    check(node, hint, path, functools.partial(_visit, build=False))


def check_networks(node: Any, path: str) -> None:
    """Build the networks that a node describes on the meta device, to check what only their classes know.

    An attention level that does not exist, or a setting without effect, is then found before anything runs. Networks
    that need a stored one or an argument still to be given are left out, and so are those that cannot be built without
    memory.

    Raises:
        UserError: If a network rejects its arguments.
    """
    import torch

    for where, network in _networks(node, path):
        if (key := repr(network)) in _accepted:
            continue
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                instantiate(network, path=where)
        except (RuntimeError, NotImplementedError):  # data-dependent construction
            pass
        _accepted.add(key)


def _networks(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the outermost networks of a node that are described completely, with their dotted paths."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _networks(item, f"{path}.{index}")
    if not isinstance(node, Mapping):
        return
    if "_target_" in node and _is_network(locate(node["_target_"], path)):
        values = [value for _, value in leaves(node)]
        if MISSING not in values and not any(key.rpartition(".")[2] == "_network_" for key, _ in leaves(node)):
            yield path, node
        return
    for key, item in node.items():
        yield from _networks(item, f"{path}.{key}" if path else key)


def _is_network(target: type) -> bool:
    from lightning.pytorch import LightningModule
    from torch import nn

    return issubclass(target, nn.Module) and not issubclass(target, LightningModule)


def check_arguments(call: Callable[..., Any], arguments: Mapping[str, Any], path: str) -> None:
    """Check arguments of a call that gets further ones, and all nodes inside them, without building anything.

    Raises:
        UserError: If an argument is unknown or does not fit.
    """
    check_call(call, arguments, path, partial=True, node=functools.partial(_visit, build=False))


def arguments_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a node, without its marks."""
    return {key: value for key, value in node.items() if key not in _MARKS}


def _visit(value: Any, hint: Any, path: str, build: bool) -> Any:
    """Check a value whose hint is a class or a callable, and build it if asked to."""
    if isinstance(hint, TypeVar | str) or not isinstance(value, Mapping):
        if _is_instance(value, hint):
            return value
        raise Misfit(path, describe(hint), value)
    if "_network_" in value:
        return _network(value, hint, path, build)
    if "_target_" not in value:
        raise Misfit(path, describe(hint), value)
    partial = check(value.get("_partial_", False), bool, f"{path}._partial_")
    target = locate(value["_target_"], path)
    _demand_class(target, hint, path, partial)
    visit = functools.partial(_visit, build=build)
    arguments = arguments_of(value)
    if left_open := [key for key in arguments if arguments[key] == MISSING]:
        if build:
            raise UserError(f"{path}.{left_open[0]}: is not given; add `{path}.{left_open[0]}=VALUE`.")
        arguments = {key: one for key, one in arguments.items() if key not in left_open}
    incomplete = partial or bool(left_open)
    arguments = check_call(target, arguments, path, partial=incomplete, node=visit)
    if not build:
        return value
    if partial:
        return functools.partial(target, **arguments)
    return _built(target, arguments, path)


def _built(target: type, arguments: Mapping[str, Any], path: str) -> Any:
    try:
        with located(path):
            return target(**arguments)
    except (UserError, RuntimeError, OSError, MemoryError):
        raise
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {error}" if path else str(error)) from error
    except Exception as error:  # whatever a class of the user's own raises
        raise UserError(f"{path}: {target.__name__} cannot be built; it raises {raised_at(error)}.") from error


def _network(value: Mapping[str, Any], hint: Any, path: str, build: bool) -> Any:
    if more := [key for key in value if key != "_network_"]:
        raise UserError(f"{path}.{more[0]}: a stored network takes no arguments; `_network_: FOLDER` stands alone.")
    folder = check(value["_network_"], str, f"{path}._network_")
    if not build:
        return value
    from mav_lightning.networks.stored import load_network

    network = load_network(Path(folder))
    if isinstance(hint, type) and not _is_instance(network, hint):
        raise UserError(f"{path}: {folder} holds a {type(network).__name__}; expected a {hint.__name__}.")
    return network


def _demand_class(target: type, hint: Any, path: str, partial: bool) -> None:
    """Demand that a class builds what the hint asks for."""
    kind = get_origin(hint) or hint
    if kind is collections.abc.Callable:
        if not partial and not _is_callable(target):
            raise UserError(
                f"{path}: a {target.__name__} cannot be called; add `_partial_: true`, or name another class."
            )
    elif not isinstance(kind, type) or kind in (Any, object) or getattr(kind, "_is_protocol", False):
        return
    elif partial:
        raise UserError(f"{path}._partial_: a complete {kind.__name__} is needed; remove `_partial_`.")
    elif not issubclass(target, kind):
        raise WrongClass(f"{path}._target_: a {target.__name__} is not a {kind.__name__}, which is needed here.")


def _is_callable(target: type) -> bool:
    return any("__call__" in vars(base) for base in target.__mro__)


def _is_instance(value: Any, hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind is collections.abc.Callable:
        return callable(value)
    if getattr(kind, "_is_protocol", False):
        return not isinstance(value, str | int | float | list | dict | type(None))
    return isinstance(kind, type) and isinstance(value, kind) and not get_args(kind)

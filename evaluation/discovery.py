"""Metrics and extractors by the name that a protocol gives them.

Those of this project are found by importing every module of their package; those of another package are named by
their dotted class name, and the package must be allowed.
"""

import inspect
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from mav_lightning.common.allowed import allowed_packages, import_class, source_sha256
from mav_lightning.common.errors import UserError, nearest

__all__ = ["find_class", "known_kinds", "kind_of", "source_of"]

_OURS = "evaluation."


def known_kinds(package: str, contract: type[Any]) -> dict[str, type[Any]]:
    """Return the public subclasses of `contract` in the modules of a package, by their `kind`.

    Args:
        package: Dotted name, for example ``evaluation.metrics``.
        contract: The base class.
    """
    found: dict[str, type[Any]] = {}
    for module in _modules(package):
        for own in vars(module).values():
            if inspect.isclass(own) and issubclass(own, contract) and "kind" in vars(own):
                found[vars(own)["kind"]] = own
    return found


@cache
def _modules(package: str) -> list[ModuleType]:
    return [import_module(f"{package}.{one.name}") for one in iter_modules(import_module(package).__path__)]


def find_class(kind: str, package: str, contract: type[Any], path: str) -> type[Any]:
    """Return the class that a protocol names.

    Args:
        kind: The `kind` of a class in `package`, or the dotted name of a class in an allowed package.
        package: Dotted name of this project's package.
        contract: The base class.
        path: Dotted path of the name in the protocol, for messages.

    Raises:
        UserError: If there is no such class, its package is not allowed, or it is not a subclass of `contract`.
    """
    if "." in kind:
        own = import_class(kind)
        if not issubclass(own, contract) or inspect.isabstract(own):
            raise UserError(f"{path}: `{kind}` must be a concrete subclass of `{contract.__name__}`.")
        return own
    known = known_kinds(package, contract)
    if kind not in known:
        raise UserError(
            f"{path}: unknown kind `{kind}`; known are {', '.join(known)}, and classes of allowed packages by their "
            "dotted name.",
            suggestion=nearest(kind, known),
        )
    return known[kind]


def kind_of(one: object) -> str:
    """Return the name by which a protocol names the class of a metric or of an extractor's settings."""
    own = type(one)
    return str(vars(own)["kind"]) if own.__module__.startswith(_OURS) else f"{own.__module__}.{own.__qualname__}"


def source_of(one: object) -> dict[str, str]:
    """Return ``{"source_sha256": …}`` for an object of an allowed package, else ``{}``; its code affects numbers."""
    name = f"{type(one).__module__}."
    packages = [package for package in allowed_packages() if name.startswith(f"{package}.")]
    return {"source_sha256": source_sha256(max(packages, key=len))} if packages else {}

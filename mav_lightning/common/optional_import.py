"""Lazy import of optional dependencies."""

from importlib import import_module
from typing import Any

from mav_lightning.common.errors import UserError

__all__ = ["how_to_install", "optional_class", "optional_module"]


def how_to_install(extra: str) -> str:
    """Return how to install one of this project's extras; the project is on no package index."""
    return f"run `pip install '.[{extra}]'` in a checkout of mav-lightning"


def optional_module(module: str, extra: str) -> Any:
    """Import a library that only some users install.

    Args:
        module: Dotted name of the module.
        extra: Name of this project's extra that installs the library, for the message.

    Raises:
        UserError: If the library is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"needs {module.partition('.')[0]}; {how_to_install(extra)}.") from error


def optional_class(module: str, name: str, extra: str) -> Any:
    """Import a class of a library that only some users install.

    Args:
        module: Dotted name of its module.
        name: Name of the class.
        extra: Name of this project's extra that installs the library, for the message.

    Raises:
        UserError: If the library is not installed, or has no such class.
    """
    library = optional_module(module, extra)
    try:
        return getattr(library, name)
    except AttributeError as error:
        raise UserError(f"{module} has no `{name}`; {how_to_install(extra)} to get a version that has it.") from error

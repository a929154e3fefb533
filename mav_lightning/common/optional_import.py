"""Lazy import of optional dependencies."""

from importlib import import_module
from typing import Any

from mav_lightning.common.errors import UserError

__all__ = ["optional_class"]


def optional_class(module: str, name: str, extra: str) -> Any:
    """Import a class of a library that only some users install.

    Args:
        module: Dotted name of its module.
        name: Name of the class.
        extra: This project's extra that installs the library, for the message.

    Raises:
        UserError: If the library is not installed.
    """
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        library = module.partition(".")[0]
        raise UserError(f"needs {library}; run `pip install 'mav-lightning[{extra}]'`.") from error

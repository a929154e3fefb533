"""Lazy import of Hugging Face's diffusers, an optional dependency."""

from importlib import import_module
from typing import Any

from mav_lightning.common.errors import UserError

__all__ = ["diffusers_class", "diffusers_version"]


def diffusers_class(module: str, name: str) -> Any:
    """Import a class of diffusers.

    Args:
        module: Dotted name of its module.
        name: Name of the class.

    Raises:
        UserError: If the library is not installed.
    """
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise UserError("needs diffusers; run `pip install 'mav-lightning[diffusers]'`.") from error


def diffusers_version() -> str:
    """Return the version of the installed library."""
    return str(diffusers_class("diffusers", "__version__"))

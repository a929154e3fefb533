"""Lazy import of Hugging Face's diffusers, an optional dependency."""

from typing import Any

from mav_lightning.common.optional_import import optional_class

__all__ = ["diffusers_class", "diffusers_version"]


def diffusers_class(module: str, name: str) -> Any:
    """Import a class of diffusers.

    Args:
        module: Dotted name of its module.
        name: Name of the class.

    Raises:
        UserError: If the library is not installed.
    """
    return optional_class(module, name, "diffusers")


def diffusers_version() -> str:
    """Return the version of the installed library."""
    return str(diffusers_class("diffusers", "__version__"))

"""Lazy import of Hugging Face's diffusers, an optional dependency."""

import inspect
from collections.abc import Mapping
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.common.optional_import import optional_class

__all__ = ["diffusers_class", "diffusers_version", "known_arguments"]


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


def known_arguments(kind: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a class of diffusers in a config, all of which the installed version must know.

    Args:
        kind: The class.
        config: Content of its ``config.json``; keys that begin with an underscore are left out.

    Raises:
        UserError: If the class has no such argument.
    """
    known = inspect.signature(kind).parameters
    arguments = {key: value for key, value in config.items() if not key.startswith("_")}
    for key in arguments:
        if key not in known:
            written = config.get("_diffusers_version")
            raise UserError(
                f"`{key}` is not an argument of the {kind.__name__} of diffusers {diffusers_version()}; the config was "
                f"written by {f'version {written}' if written else 'another version'}: install that one, or remove the "
                "key if the network does not need it.",
                argument="config",
            )
    return arguments

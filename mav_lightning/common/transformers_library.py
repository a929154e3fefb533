"""Lazy import of Hugging Face's transformers, an optional dependency."""

from collections.abc import Mapping
from typing import Any

from mav_lightning.common.optional_import import optional_module

__all__ = ["demand_no_code", "transformers_library"]


def transformers_library() -> Any:
    """Import Hugging Face's ``transformers`` and return it.

    Raises:
        UserError: If it is not installed.
    """
    return optional_module("transformers", "clip")


def demand_no_code(config: Mapping[str, Any]) -> None:
    """Reject settings that make transformers import code or download kernels, since the config may be untrusted.

    Args:
        config: Content of a model's ``config.json``.

    Raises:
        ValueError: If there is such a setting.
    """
    for key, value in config.items():
        if isinstance(value, Mapping):
            demand_no_code(value)
        if key in ("auto_map", "quantization_config") and value:
            raise ValueError(f"`{key}` is not allowed in the config of a CLIP; remove it")
        if "implementation" in key and value not in (None, True, False, "eager", "sdpa"):
            raise ValueError(f"`{key}` must be eager or sdpa, got {value!r}")

"""Hugging Face's transformers, an extra, imported where it is used."""

from typing import Any

from mav_lightning.common.errors import UserError

__all__ = ["transformers_library"]


def transformers_library() -> Any:
    """The library.

    Raises:
        UserError: It is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError("Hugging Face's CLIPs need the extra `clip`: pip install 'mav-lightning[clip]'.") from error
    return transformers

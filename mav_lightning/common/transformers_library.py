"""Lazy import of Hugging Face's transformers, an optional dependency."""

from typing import Any

from mav_lightning.common.errors import UserError

__all__ = ["transformers_library"]


def transformers_library() -> Any:
    """Return the imported library.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError("Hugging Face models require the extra `clip`: pip install 'mav-lightning[clip]'.") from error
    return transformers

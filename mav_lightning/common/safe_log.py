"""Logging of text from files: control characters of names and captions are shown, never interpreted."""

import logging
from typing import Any

from mav_lightning.common.terminal import visible

__all__ = ["SafeLog"]


class SafeLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose messages show control characters of names and captions escaped.

    Args:
        name: Name of the logger, ``__name__``.
    """

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name))

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a message; all other methods call this one."""
        if self.isEnabledFor(level):
            super().log(level, "%s", visible(str(msg) % args if args else msg), **kwargs)

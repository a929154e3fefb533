"""Escaping of text from files for terminals, logs and messages: control characters are shown, never interpreted.

Rich markup and emoji codes stay as they are; `mav_lightning.common.console.SafeConsole` interprets none.
"""

import logging
import re
from typing import Any

__all__ = ["SafeLog", "one_line", "shorten", "visible"]

# C0 and C1 control characters but tab and line feed, marks that reorder the text shown, and halves of characters.
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHOWN = 200  # characters of a name


def visible(text: object) -> str:
    r"""Return text in which control characters are escaped, for example ``\x1b`` for ESC.

    A terminal would otherwise execute what is hidden in file names and metadata, for example set the window's title.
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def one_line(text: object) -> str:
    r"""Return visible text with tabs and line feeds escaped as well, so that it cannot pose as several lines."""
    return visible(text).replace("\t", "\\t").replace("\n", "\\n")


def shorten(name: object) -> str:
    """Return a name from a file as one line of at most 200 characters, for messages."""
    shown = one_line(name)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


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

"""Escaping of text from files for the terminal and for messages: control characters are shown, never interpreted.

Rich markup and emoji codes are left alone here; `mav_lightning.common.console.SafeConsole` reads none.
"""

import re

__all__ = ["one_line", "shorten", "visible"]

# C0 and C1 control characters but tab and line feed, marks that reorder the text shown, and halves of characters.
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHOWN = 200  # characters of a name in a message


def visible(text: object) -> str:
    r"""Return text in which control characters are escaped, for example ``\x1b`` for ESC.

    A terminal would otherwise execute what is hidden in file names and metadata, for example set the window's title.
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def one_line(text: object) -> str:
    """Return text like `visible`, with every run of tabs and line feeds as one space."""
    return re.sub(r"\s*[\n\t]\s*", " ", visible(text))


def shorten(name: object) -> str:
    """Return a name from a file as one line of at most 200 characters, tabs and line feeds escaped; for messages."""
    shown = visible(name).replace("\t", r"\t").replace("\n", r"\n")
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"

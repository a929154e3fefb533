"""Escaping of text from files for the terminal: control characters and Rich markup are shown, never interpreted."""

import re

__all__ = ["markup", "visible"]

# C0 and C1 control characters but tab and line feed, marks that reorder the text shown, and halves of characters.
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: object) -> str:
    r"""Return text in which control characters are escaped, for example ``\x1b`` for ESC.

    A terminal would otherwise execute what is hidden in file names and metadata, for example set the window's title.
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def markup(text: object) -> str:
    """Return text that Rich prints as it is: control characters and square brackets are escaped."""
    from rich.markup import escape

    return escape(visible(text))

"""The one exception that means "the user can fix this"."""

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "did_you_mean"]


class UserError(Exception):
    """A mistake in the input, told in one message: what is wrong, the value got, and the way out.

    The command line prints the message without a traceback and exits with code 2.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean `x`?"`` for the known word nearest to `word`, or an empty string.

    Example:
        >>> did_you_mean("framez", ["frames", "seed"])
        '; did you mean `frames`?'
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""

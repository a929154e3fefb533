"""The exception that marks a mistake in the input, which the user can fix."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mav_lightning.common.terminal import visible

__all__ = ["Refusals", "UserError", "nearest"]


class UserError(Exception):
    """A mistake in the input: what is wrong, the value received, and how to fix it.

    The command line prints the message without a traceback and exits with code 2. It shows `argument` as the option of
    the same name, for example ``--fps``.

    Args:
        message: One or more sentences.
        argument: Name of the argument at fault, for example ``fps``. None if no single argument is.
        suggestion: The valid word nearest to the one received, as `nearest` returns it. None for no suggestion.

    Example:
        >>> print(UserError("unknown sampler `ddin`.", argument="sampler", suggestion="ddim"))
        sampler: unknown sampler `ddin`. Did you mean `ddim`?
    """

    def __init__(self, message: str, *, argument: str | None = None, suggestion: str | None = None) -> None:
        message = visible(message)  # it quotes names and values from files
        super().__init__(message)
        self.message, self.argument, self.suggestion = message, argument, suggestion

    def __str__(self) -> str:
        """Return the whole message."""
        return self.text(self.argument)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep all fields when the error crosses a process boundary."""
        return _rebuild, (type(self), self.message, self.argument, self.suggestion)

    def text(self, name: str | None) -> str:
        """Return the whole message with the argument shown as `name`, for example ``--fps``; None leaves it out."""
        before = f"{name}: " if name else ""
        after = f" Did you mean `{self.suggestion}`?" if self.suggestion else ""
        return f"{before}{self.message}{after}"


class Refusals:
    """Mistakes collected by several checks, so that one message names all of them.

    Attributes:
        errors: The mistakes, in the order they were found.
    """

    def __init__(self) -> None:
        self.errors: list[UserError] = []

    def add(self, error: UserError) -> None:
        """Add a mistake; one with the same message is added once."""
        if str(error) not in map(str, self.errors):
            self.errors.append(error)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Add the `UserError` that the block raises."""
        try:
            yield
        except UserError as error:
            self.add(error)

    def raise_any(self, what: str) -> None:
        """Raise one error that lists all recorded mistakes; do nothing if there are none.

        Args:
            what: Words after the number of mistakes, such as ``reasons why this study cannot be scored``.

        Raises:
            UserError: A single mistake unchanged; several as a numbered list.
        """
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            listed = "".join(f"\n  {number}. {error}" for number, error in enumerate(self.errors, start=1))
            raise UserError(f"{len(self.errors)} {what}:{listed}")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most similar to `word`, or None if none is similar.

    Example:
        >>> nearest("framez", ["frames", "seed"])
        'frames'
    """
    words = list(known)
    if same := [one for one in words if one.casefold() == word.casefold()]:
        return same[0]
    near = difflib.get_close_matches(word, words, n=1) or [one for one in words if word and one.startswith(word)]
    return near[0] if near else None


def _rebuild(kind: type[UserError], message: str, argument: str | None, suggestion: str | None) -> UserError:
    return kind(message, argument=argument, suggestion=suggestion)

"""Progress reporting that does not depend on a terminal."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

__all__ = ["Track", "clock", "untracked"]

T = TypeVar("T")


class Track(Protocol):
    """Iterable wrapper that advances a progress bar of `total` steps by one for each item taken."""

    def __call__(self, items: Iterable[T], total: int, description: str) -> Iterable[T]:
        """Yield the items unchanged."""


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours if there are any.

    Example:
        >>> clock(75), clock(3675)
        ('1:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def untracked(items: Iterable[T], total: int, description: str) -> Iterable[T]:
    """Return the items without showing progress."""
    return items

"""Progress reporting that does not depend on a terminal."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

__all__ = ["Track", "untracked"]

T = TypeVar("T")


class Track(Protocol):
    """Iterable wrapper that advances a progress bar of `total` steps by one for each item taken."""

    def __call__(self, items: Iterable[T], total: int, description: str) -> Iterable[T]:
        """Yield the items unchanged."""


def untracked(items: Iterable[T], total: int, description: str) -> Iterable[T]:
    """Return the items without showing progress."""
    return items

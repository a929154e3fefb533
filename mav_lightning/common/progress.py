"""How long work tells how far it is, without knowing of a terminal."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

__all__ = ["Track", "untracked"]

T = TypeVar("T")


class Track(Protocol):
    """Wraps items so that taking each one moves a progress bar of `total` steps."""

    def __call__(self, items: Iterable[T], total: int, description: str) -> Iterable[T]:
        """Gives the items on, unchanged."""


def untracked(items: Iterable[T], total: int, description: str) -> Iterable[T]:
    """Shows nothing."""
    return items

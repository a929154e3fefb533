"""A progress display for work that takes a `track` argument."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from datamodules.progress import Track

__all__ = ["tracker"]

T = TypeVar("T")


@contextmanager
def tracker() -> Iterator["Track"]:
    """Shows a bar with rate and time left for every iterable that goes through ``track(items, total, description)``."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    text, rate = TextColumn("{task.description}"), TextColumn("{task.fields[rate]}")
    with Progress(text, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()) as progress:

        def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
            task = progress.add_task(description, total=total, rate="")
            for item in items:
                yield item
                speed = progress.tasks[task].speed
                progress.update(task, advance=1, rate=f"{speed:.3g}/s" if speed else "")

        yield track

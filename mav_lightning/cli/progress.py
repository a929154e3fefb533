"""Progress and failures of work, on a terminal."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import typer

from mav_lightning.common.terminal import visible

if TYPE_CHECKING:
    from rich.console import Console

    from mav_lightning.common.tracking import Track
    from mav_lightning.runs.scheduler import StageOutcomes

__all__ = ["exit_if_failed", "tracker"]

T = TypeVar("T")


@contextmanager
def tracker() -> Iterator["Track"]:
    """Show a bar with rate and time left for every iterable passed through ``track(items, total, description)``."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    text, rate = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[rate]}")
    with Progress(text, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()) as progress:

        def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
            task = progress.add_task(visible(description), total=total, rate="")
            for item in items:
                yield item
                speed = progress.tasks[task].speed
                progress.update(task, advance=1, rate=f"{speed:.3g}/s" if speed else "")

        yield track


def exit_if_failed(console: "Console", outcomes: "StageOutcomes") -> None:
    """Name the stages that failed and exit with code 1; do nothing if all are done."""
    if outcomes.complete:
        return
    names = ", ".join(f"{stage.name}-{stage.id}" for stage in outcomes.failed)
    skipped = len(outcomes.skipped)
    message = f"[red]failed:[/] {names}; {skipped} stages that need them were skipped. Rerun the command to retry."
    console.print(message, soft_wrap=True)
    raise typer.Exit(1)

"""Progress and failures of work, on a terminal."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import typer

from mav_lightning.cli.printing import echo
from mav_lightning.common.counting import counted
from mav_lightning.common.terminal import visible
from mav_lightning.common.tracking import clock

if TYPE_CHECKING:
    from rich.console import Console

    from mav_lightning.common.tracking import Track
    from mav_lightning.runs.scheduler import StageOutcomes

__all__ = ["exit_if_failed", "tracker"]

T = TypeVar("T")
LINE_SECONDS = 10.0


@contextmanager
def tracker() -> Iterator["Track"]:
    """Show the progress of every iterable passed through ``track(items, total, description)``, with rate and time left.

    In a terminal it is a bar; elsewhere, as in a log file, a line every ten seconds and one at the end.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    if not console.is_terminal:
        yield _lines
        return
    text, rate = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[rate]}")
    columns = (text, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:

        def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
            task = progress.add_task(visible(description), total=total, rate="")
            for item in items:
                yield item
                speed = progress.tasks[task].speed
                progress.update(task, advance=1, rate=f"{speed:.3g}/s" if speed else "")

        yield track


def _lines(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    started = shown = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - shown >= LINE_SECONDS and done < total:
            rate, shown = done / (now - started), now
            echo(f"{description} {done}/{total} · {rate:.3g}/s · {clock((total - done) / rate)} left")
    seconds = time.monotonic() - started
    echo(f"{description} {done}/{total}" + (f" · {done / seconds:.3g}/s" if done and seconds else ""))


def exit_if_failed(console: "Console", outcomes: "StageOutcomes") -> None:
    """Name the stages that failed and exit with code 1; do nothing if all are done."""
    if outcomes.complete:
        return
    names = ", ".join(f"{stage.name}-{stage.id}" for stage in outcomes.failed)
    skipped = counted(len(outcomes.skipped), "stage that needs them was", "stages that need them were")
    message = f"[red]failed:[/] {names}; {skipped} skipped. Rerun the command to retry."
    console.print(message, soft_wrap=True)
    raise typer.Exit(1)

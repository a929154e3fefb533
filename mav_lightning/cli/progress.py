"""Progress and failures of work, on a terminal."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import typer

from mav_lightning.cli.printing import echo
from mav_lightning.common.counting import counted
from mav_lightning.common.terminal import one_line
from mav_lightning.common.tracking import clock

if TYPE_CHECKING:
    from mav_lightning.common.console import SafeConsole
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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mav_lightning.common.console import SafeConsole

    console = SafeConsole()
    if not console.is_terminal:
        yield _lines
        return
    text, rate = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[rate]}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:

        def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
            task = progress.add_task(one_line(description), total=total, rate="")
            for item in items:
                yield item
                speed = progress.tasks[task].speed
                progress.update(task, advance=1, rate=f"{speed:.3g}/s" if speed else "")

        yield track


def _lines(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    name, started = one_line(description), time.monotonic()
    shown, done = started, 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - shown >= LINE_SECONDS and done < total:
            rate, shown = done / (now - started), now
            echo(f"{name} {done}/{total} · {rate:.3g}/s · {clock((total - done) / rate)} left")
    seconds = time.monotonic() - started
    echo(f"{name} {done}/{total}" + (f" · {done / seconds:.3g}/s" if done and seconds else ""))


def exit_if_failed(console: "SafeConsole", outcomes: "StageOutcomes") -> None:
    """Name the stages that failed and exit with code 1; do nothing if all are done."""
    from mav_lightning.common.console import styled

    if outcomes.complete:
        return
    names = ", ".join(f"{stage.name}-{stage.id}" for stage in outcomes.failed)
    skipped = counted(len(outcomes.skipped), "stage that needs them was", "stages that need them were")
    message = f" {names}; {skipped} skipped. Rerun the command to retry."
    console.print(styled(("failed:", "red"), message), soft_wrap=True)
    raise typer.Exit(1)

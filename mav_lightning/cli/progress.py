"""Progress and failures of work, on a terminal."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import typer

from mav_lightning.cli.printing import echo
from mav_lightning.common.terminal import one_line

if TYPE_CHECKING:
    from mav_lightning.common.console import SafeConsole
    from mav_lightning.common.tracking import Track
    from mav_lightning.runs.scheduler import StageOutcomes

__all__ = ["exit_if_failed", "tracker"]

LINE_SECONDS = 10.0
T = TypeVar("T")


@contextmanager
def tracker() -> Iterator["Track"]:
    """Show a bar with rate and time left for every iterable passed through ``track(items, total, description)``.

    Without a terminal, write lines to standard error: at once, every ten seconds, and at the end.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mav_lightning.common.console import SafeConsole

    if not SafeConsole().is_terminal:
        yield _track_by_lines
        return
    text, rate = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[rate]}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=SafeConsole()) as progress:

        def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
            task = progress.add_task(one_line(description), total=total, rate="")
            for item in items:
                yield item
                speed = progress.tasks[task].speed
                progress.update(task, advance=1, rate=f"{speed:.3g}/s" if speed else "")

        yield track


def _track_by_lines(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    name, begun = one_line(description), time.monotonic()
    shown = begun
    echo(f"{name}: 0/{total}", err=True)
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - shown >= LINE_SECONDS or count == total:
            rate = count / max(now - begun, 1e-9)
            left = f", {(total - count) / rate:.0f} s left" if count < total else ""
            echo(f"{name}: {count}/{total}, {rate:.3g}/s{left}", err=True)
            shown = now


def exit_if_failed(console: "SafeConsole", outcomes: "StageOutcomes") -> None:
    """Name the stages that failed and exit with code 1; do nothing if all are done."""
    from mav_lightning.common.console import styled

    if outcomes.complete:
        return
    names = ", ".join(f"{stage.name}-{stage.id}" for stage in outcomes.failed)
    skipped = len(outcomes.skipped)
    message = f" {names}; {skipped} stages that need them were skipped. Rerun the command to retry."
    console.print(styled(("failed:", "red"), message), soft_wrap=True)
    raise typer.Exit(1)

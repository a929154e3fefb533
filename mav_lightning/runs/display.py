"""Progress of running stages on a terminal."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from mav_lightning.common.lease import holder
from mav_lightning.common.terminal import markup
from mav_lightning.common.units import duration
from mav_lightning.runs.executor import Running
from mav_lightning.runs.ledger import Ledger
from mav_lightning.runs.scheduler import Ending
from mav_lightning.runs.stage_folder import Stage

__all__ = ["Display"]

_MARKS = {"ran": "[green]✓[/]", "reused": "[dim]·[/]", "failed": "[red]✗[/]", "skipped": "[yellow]–[/]"}


class Display:
    """A `ProgressListener` for terminals: a line per settled stage, a bar per running stage and one for all.

    Args:
        ledger: Ledger of the stages, to name the holder of a stage that another process runs.
        total: Number of stages.
        console: Console to draw on; None for standard output. Without a terminal only the settled lines are written.
    """

    def __init__(self, ledger: Ledger, total: int, console: Console | None = None) -> None:
        self._ledger = ledger
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24, complete_style="cyan"),
            TextColumn("{task.fields[count]}"),
            _Rate(),
            TimeElapsedColumn(),
            _TimeLeft(),
            console=console,
            transient=True,
        )
        self._all = self._progress.add_task("[bold]stages[/]", total=total, count=f"0/{total}", unit="")
        self._total, self._settled = total, 0
        self._bars: dict[str, TaskID] = {}
        self._announced: set[str] = set()

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, job: Running) -> None:
        """Add a bar."""
        if (bar := self._bars.get(job.stage.id)) is not None:  # it was started before, by a worker that came too late
            self._progress.remove_task(bar)
        self._bars[job.stage.id] = self._progress.add_task(_label(job.stage), total=None, count="", unit="")

    def settled(self, stage: Stage, ending: Ending, seconds: float | None) -> None:
        """Replace the bar by a line, and show the end of the log of a failed stage."""
        if (bar := self._bars.pop(stage.id, None)) is not None:
            self._progress.remove_task(bar)
        self._settled += 1
        self._progress.update(self._all, completed=self._settled, count=f"{self._settled}/{self._total}")
        took = f" {duration(seconds)}" if seconds is not None else ""
        self._progress.console.print(f"{_MARKS[ending]} {_label(stage)} {ending}{took}", highlight=False)
        if ending == "failed":
            folder = self._ledger.folder(stage)
            failure = folder.read_failure()
            for line in (failure.log if failure else folder.last_log_lines())[-8:]:
                self._progress.console.print(f"    [dim]{markup(line)}[/]", highlight=False)
            if folder.log_file.exists():
                where = markup(str(folder.log_file))
                self._progress.console.print(f"    [dim]{where}[/]", highlight=False, soft_wrap=True)

    def tick(self, running: Sequence[Running], elsewhere: Sequence[Stage]) -> None:
        """Advance the bars, and announce once each stage that another process runs."""
        for job in running:
            if progress := job.folder.read_progress():
                done, total, unit = progress.done, progress.total, progress.unit
                bar = self._bars[job.stage.id]
                self._progress.update(bar, completed=done, total=total, count=f"{done}/{total}", unit=unit)
        for stage in elsewhere:
            if stage.id not in self._announced:
                self._announced.add(stage.id)
                who = markup(holder(self._ledger.folder(stage).path))
                self._progress.console.print(f"… {_label(stage)} waits for {who}", highlight=False)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        return Text(f"{task.speed:.3g} {unit}/s" if unit and task.speed else "")


class _TimeLeft(ProgressColumn):
    def render(self, task: Task) -> Text:
        left = task.time_remaining if task.fields["unit"] else None
        return Text("" if left is None else f"{int(left) // 60}:{int(left) % 60:02d} left", style="cyan")


def _label(stage: Stage) -> str:
    return f"{markup(stage.name)} [dim]{stage.id[:8]}[/]"

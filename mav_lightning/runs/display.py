"""Progress of running stages on a terminal."""

from collections.abc import Sequence
from types import TracebackType

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from mav_lightning.common.console import SafeConsole, styled
from mav_lightning.common.lease import holder
from mav_lightning.common.tracking import clock
from mav_lightning.common.units import duration
from mav_lightning.runs.executor import Running
from mav_lightning.runs.ledger import Ledger
from mav_lightning.runs.scheduler import Ending
from mav_lightning.runs.stage_folder import Stage

__all__ = ["Display"]

_MARKS = {"ran": ("✓", "green"), "reused": ("·", "dim"), "failed": ("✗", "red"), "skipped": ("–", "yellow")}


class Display:
    """A `ProgressListener` for terminals: a line per settled stage, a bar per running stage and one for all.

    Args:
        ledger: Ledger of the stages, to name the holder of a stage that another process runs.
        total: Number of stages.
        console: Console to draw on; None for standard output. Without a terminal only the settled lines are written.
    """

    def __init__(self, ledger: Ledger, total: int, console: SafeConsole | None = None) -> None:
        self._ledger = ledger
        self._progress = Progress(
            _Description(),
            BarColumn(bar_width=24, complete_style="cyan"),
            TextColumn("{task.fields[count]}", markup=False),
            _Rate(),
            TimeElapsedColumn(),
            _TimeLeft(),
            console=console or SafeConsole(),
            transient=True,
        )
        self._all = self._progress.add_task(
            "", label=styled(("stages", "bold")), total=total, count=f"0/{total}", unit=""
        )
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
        """Add a progress bar for the stage."""
        if (bar := self._bars.get(job.stage.id)) is not None:  # it was started before, by a worker that came too late
            self._progress.remove_task(bar)
        self._bars[job.stage.id] = self._progress.add_task("", label=_label(job.stage), total=None, count="", unit="")

    def settled(self, stage: Stage, ending: Ending, seconds: float | None) -> None:
        """Replace the bar of a stage that has ended by one line; if it failed, also print the end of its log."""
        if (bar := self._bars.pop(stage.id, None)) is not None:
            self._progress.remove_task(bar)
        self._settled += 1
        self._progress.update(self._all, completed=self._settled, count=f"{self._settled}/{self._total}")
        took = f" {duration(seconds)}" if seconds is not None else ""
        settled = styled(_MARKS[ending], " ", _label(stage), f" {ending}{took}")
        self._progress.console.print(settled, highlight=False)
        if ending == "failed":
            folder = self._ledger.folder(stage)
            failure = folder.read_failure()
            for line in (failure.log if failure else folder.last_log_lines())[-8:]:
                self._progress.console.print(styled((f"    {line}", "dim")), highlight=False)
            if folder.log_file.exists():
                where = styled((f"    {folder.log_file}", "dim"))
                self._progress.console.print(where, highlight=False, soft_wrap=True)

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
                who = holder(self._ledger.folder(stage).path)
                self._progress.console.print(styled("… ", _label(stage), f" waits for {who}"), highlight=False)


class _Description(ProgressColumn):
    def render(self, task: Task) -> Text:
        label: Text = task.fields["label"]
        return label


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        return Text(f"{task.speed:.3g} {unit}/s" if unit and task.speed else "")


class _TimeLeft(ProgressColumn):
    def render(self, task: Task) -> Text:
        left = task.time_remaining if task.fields["unit"] else None
        return Text("" if left is None else f"{clock(left)} left", style="cyan")


def _label(stage: Stage) -> Text:
    return styled(f"{stage.name} ", (stage.id[:8], "dim"))

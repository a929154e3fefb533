"""Progress of a training: a bar in a terminal, lines in a log file, or calls to a function."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mav_lightning.common.console import SafeConsole
from mav_lightning.common.tracking import clock

__all__ = ["ReportProgress", "TrainingProgress"]

REDRAW_SECONDS = 0.25  # reading the loss waits for the device, so not at every step
LINE_SECONDS = 10.0


class ReportProgress(Callback):
    """Call ``report(steps done, total steps)`` about once a second, on the first rank.

    Args:
        report: Function that receives the optimizer steps done and in all.
    """

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self.report, self._reported = report, 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Report, unless the last report is less than a second old."""
        if trainer.is_global_zero and time.monotonic() - self._reported > 1.0:
            self.report(trainer.global_step, trainer.max_steps)
            self._reported = time.monotonic()


class TrainingProgress(ProgressBar):
    """Progress bar that counts optimizer steps of the whole run, over epochs and restarts.

    Args:
        console: Console to draw on; None for standard output. Without a terminal a line is written every ten seconds.
    """

    def __init__(self, console: SafeConsole | None = None) -> None:
        super().__init__()
        self._console = console or SafeConsole()
        self._interval = REDRAW_SECONDS if self._console.is_terminal else LINE_SECONDS
        self._bar: Progress | None = None
        self._enabled = True
        self._samples = 0
        self._started = self._shown = 0.0
        self._first_step = 0
        self._recent: deque[tuple[float, int]] = deque(maxlen=20)

    def enable(self) -> None:
        """Show progress."""
        self._enabled = True

    def disable(self) -> None:
        """Show nothing, as on all ranks but the first."""
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and, in a terminal, the bar."""
        self._started = self._shown = time.monotonic()
        self._first_step = trainer.global_step
        self._recent.append((self._started, 0))
        if self._enabled and self._console.is_terminal:
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}", markup=False),
            )
            self._bar = Progress(TextColumn("training"), *columns, console=self._console)
            self._bar.add_task("", total=trainer.max_steps, completed=trainer.global_step, note="")
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch, and redraw if it is due."""
        self._samples += _samples_in(batch) * trainer.world_size
        now = time.monotonic()
        if self._enabled and (now - self._shown >= self._interval or trainer.global_step >= trainer.max_steps):
            self._show(trainer, _note(outputs, batch, self._rate(now), self._seconds_left(trainer, now)))
            self._shown = now
            self._recent.append((now, self._samples))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the bar."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the bar, so that the error message after it is readable."""
        self._stop()

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        self._console.print(*args, **kwargs)

    def _show(self, trainer: Trainer, note: str) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=trainer.global_step, note=note)
        else:
            line = f"step {trainer.global_step}/{trainer.max_steps} · {note}"
            self._console.print(line, highlight=False, soft_wrap=True)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _rate(self, now: float) -> float:
        """Return samples per second over the last few redraws."""
        then, samples = self._recent[0]
        return (self._samples - samples) / max(now - then, 1e-9)

    def _seconds_left(self, trainer: Trainer, now: float) -> float:
        """Estimate from the mean pace since training started or resumed, validation included."""
        done = max(trainer.global_step - self._first_step, 1)
        return (trainer.max_steps - trainer.global_step) * (now - self._started) / done


def _note(outputs: Any, batch: Any, rate: float, seconds_left: float) -> str:
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    shown = [] if loss is None else [f"loss {float(loss):.4f}"]
    unit = "clips" if getattr(batch, "fps", None) is not None else "samples"
    return " · ".join([*shown, f"{rate:.1f} {unit}/s", f"{clock(seconds_left)} left"])


def _samples_in(batch: Any) -> int:
    """Return the batch size: the length of a typed batch, or of the first part of a tuple or mapping."""
    if isinstance(batch, Mapping):
        batch = next(iter(batch.values()))
    elif isinstance(batch, tuple | list):
        batch = batch[0]
    return len(batch)

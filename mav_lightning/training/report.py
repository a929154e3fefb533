"""Telling somebody outside how far a training is."""

import time
from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["ReportProgress"]


class ReportProgress(Callback):
    """Calls ``report(steps done, steps in all)`` about once a second, on the first rank.

    Args:
        report: Whom to tell.
    """

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self.report, self._told = report, 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Reports, unless it did within the last second."""
        if trainer.is_global_zero and time.monotonic() - self._told > 1.0:
            self.report(trainer.global_step, trainer.max_steps)
            self._told = time.monotonic()

"""Base of callbacks that count optimizer steps, where Lightning counts batches."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["StepCallback"]


class StepCallback(Callback):
    """Callback with a hook `on_step_end`, called once per optimizer step.

    Batches that only accumulate gradients do not call it.
    """

    _steps_seen = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the step that training starts or resumes from."""
        self._steps_seen = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Call `on_step_end` if the batch ended with an optimizer step."""
        if trainer.global_step != self._steps_seen:
            self._steps_seen = trainer.global_step
            self.on_step_end(trainer, pl_module)

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle an optimizer step, which ``trainer.global_step`` already counts."""
        raise NotImplementedError

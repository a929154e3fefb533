"""Base of callbacks that count optimizer steps, where Lightning counts batches."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["StepCallback", "is_last_step"]


class StepCallback(Callback):
    """Callback with a hook `on_step_end`, called once per batch that ends with an optimizer step.

    Batches that only accumulate gradients do not call it. With several optimizers, a batch takes several steps.
    """

    _steps_seen = _steps_before = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the step that training starts or resumes from."""
        self._steps_seen = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Call `on_step_end` if the batch ended with an optimizer step."""
        self.count_steps(trainer, pl_module)

    def count_steps(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call `on_step_end` if there was an optimizer step since the last call."""
        if trainer.global_step != self._steps_seen:
            self._steps_before, self._steps_seen = self._steps_seen, trainer.global_step
            self.on_step_end(trainer, pl_module)

    def completes(self, every: int) -> bool:
        """Return whether the steps of this batch complete a multiple of `every` steps."""
        return self._steps_seen // every > self._steps_before // every

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle an optimizer step, which ``trainer.global_step`` already counts."""
        raise NotImplementedError


def is_last_step(trainer: Trainer) -> bool:
    """Return whether the steps of a training are done; the last batch may take more than are left."""
    return trainer.global_step >= trainer.max_steps

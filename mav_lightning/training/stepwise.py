"""A callback's view of training in optimizer steps, where Lightning counts batches."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["StepCallback"]


class StepCallback(Callback):
    """Calls `on_step_end` once per optimizer step; batches that only accumulate gradients pass unnoticed."""

    _steps_seen = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the step that training continues from as seen."""
        self._steps_seen = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Calls `on_step_end` where the batch ended with an optimizer step."""
        if trainer.global_step != self._steps_seen:
            self._steps_seen = trainer.global_step
            self.on_step_end(trainer, pl_module)

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The optimizer has stepped; ``trainer.global_step`` counts it already."""
        raise NotImplementedError

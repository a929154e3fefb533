"""Validation by optimizer steps: before the checkpoint of its step, at the end, and again if it was cut short."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from mav_lightning.training.step_callback import StepCallback, is_last_step

__all__ = ["NEVER", "Validation"]

NEVER = 10**12  # batches between two validations by Lightning itself


class Validation(StepCallback):
    """Validate within the step's hook, so that the checkpoint of a step comes after its validation.

    Lightning validates after the checkpoint. A run that is killed in between resumes behind the validation, which is
    never repeated. Here the checkpoint records the last validated step; a run that resumes at a step whose validation
    was interrupted repeats it first. The last step is always validated.

    Args:
        every: Optimizer steps between two validations, unless `batches` is given.
        batches: Training batches between two validations: a number, or a fraction of a pass over the data; a validation
            takes place at the end of the optimizer step in which they are complete. None goes by `every`.
        passes: Passes over the data between two validations. None goes by the others.
    """

    def __init__(self, every: int, batches: int | float | None = None, passes: int | None = None) -> None:
        self.every, self.batches, self.passes = every, batches, passes
        self._validated = self._batches_before = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Repeat a validation that was cut short."""
        super().on_train_start(trainer, pl_module)
        self._batches_before = trainer.fit_loop.total_batch_idx + 1
        if self._validated < 0:
            self._run(trainer, pl_module)

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate if it is due."""
        batches = trainer.fit_loop.total_batch_idx + 1
        due = is_last_step(trainer) or self._is_due(trainer, batches)
        self._batches_before = batches
        if due and trainer.enable_validation:
            self._run(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the last validated step; negative for one whose validation was cut short."""
        return {"validated": self._validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the last validated step."""
        self._validated = state_dict["validated"]

    def _is_due(self, trainer: Trainer, batches: int) -> bool:
        if self.batches is None and self.passes is None:
            return self.completes(self.every)
        interval = self.batches
        if not isinstance(interval, int):
            interval = max(int((interval or self.passes or 1) * trainer.num_training_batches), 1)
        return batches // interval > self._batches_before // interval

    def _run(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run Lightning's validation loop, and restore what it expects of the training around it."""
        self._validated = -trainer.global_step
        connector, loop = trainer._logger_connector, trainer.fit_loop.epoch_loop.val_loop
        first_batch = connector._first_loop_iter
        loop.restarting = False
        trainer.validating = True
        pl_module.on_validation_model_zero_grad()
        try:
            loop.run()
        finally:
            trainer.training = True
            connector._first_loop_iter = first_batch
        self._validated = trainer.global_step

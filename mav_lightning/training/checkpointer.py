"""When checkpoints are taken, how many are kept, and what happens on being asked to stop."""

import signal
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from mav_lightning.common.errors import UserError
from mav_lightning.training.checkpoint_io import checkpoint_path, checkpoints
from mav_lightning.training.resume import warn_if_inexact
from mav_lightning.training.signals import StopSignals
from mav_lightning.training.stepwise import StepCallback

__all__ = ["Checkpointer"]


class Checkpointer(StepCallback, Checkpoint):
    """Saves after every `every`-th optimizer step, after the last one, and on SIGTERM or Ctrl-C before leaving.

    Lightning calls checkpoint callbacks after all others, so what is saved includes what they did in this step.
    Checkpoints fall between optimizer steps only, never amid accumulated gradients or validation.

    Args:
        folder: Where the checkpoints lie.
        every: Optimizer steps between two checkpoints.
        keep: Generations on disk. Two or more, as a disk can spoil the newest one after it was written.

    Attributes:
        run: What the continuation depends on beside weights (seed, steps, ranks …); kept in every checkpoint.
    """

    def __init__(self, folder: Path, every: int, keep: int = 2) -> None:
        self.folder, self.every, self.keep = folder, every, keep
        self.run: dict[str, Any] = {}
        self._signals = StopSignals()

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens to signals from here on, in place of the handler that Lightning has just put there."""
        self._signals.install()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens to signals."""
        super().on_train_start(trainer, pl_module)
        warn_if_inexact(trainer)
        self._signals.install()

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves where a checkpoint is due.

        Raises:
            SystemExit: A signal asks to stop: 128 + its number, 143 for SIGTERM, after the checkpoint is on disk.
        """
        stop = self._signals.received(trainer)
        if stop or trainer.global_step % self.every == 0 or trainer.global_step == trainer.max_steps:
            self._save(trainer, pl_module)
        if stop:
            name = signal.Signals(stop).name
            trainer.print(f"{name}: saved step {trainer.global_step}; run the same command again to continue.")
            # rank 0 speaks for all: Lightning's launcher kills everybody once another rank leaves with an error
            raise SystemExit(128 + stop if trainer.is_global_zero else 0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the signals back."""
        self._signals.restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the signals back."""
        self._signals.restore()

    def state_dict(self) -> dict[str, Any]:
        """What the continuation depends on."""
        return self.run

    def _save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _refuse_nonfinite(pl_module, self.folder, trainer.global_step)
        trainer.save_checkpoint(checkpoint_path(self.folder, trainer.global_step), weights_only=False)
        for old in checkpoints(self.folder)[self.keep :]:
            trainer.strategy.remove_checkpoint(old)


def _refuse_nonfinite(module: LightningModule, folder: Path, step: int) -> None:
    """Raises UserError where a trained weight is not finite: such a checkpoint must not push out a good one."""
    for name, weight in module.named_parameters():
        if weight.requires_grad and not torch.isfinite(weight).all():
            raise UserError(
                f"`{name}` is not finite at step {step}, so nothing is saved; the checkpoints in {folder} are good. "
                "Lower the learning rate or set trainer.gradient_clip_val=1.0, with another `out`."
            )

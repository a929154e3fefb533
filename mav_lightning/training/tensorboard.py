"""Pictures in TensorBoard: clips that really play, the fps that training really saw, what temporal layers do."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from mav_lightning.common.clip_summary import clip_summary
from mav_lightning.training.stepwise import StepCallback

__all__ = ["FpsHistogram", "HasActivity", "HasClips", "PlayingClips", "TemporalActivity"]


@runtime_checkable
class HasClips(Protocol):
    """A module that can show what it makes."""

    def sample_clips(self) -> Mapping[str, tuple[NDArray[np.uint8], float]]:
        """Tag → clips, shape (N, T, H, W, 3), uint8, and their frames per second; called in validation, in EMA."""
        ...


class PlayingClips(Callback):
    """Writes the clips of a module that has `sample_clips` at the end of every validation."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asks every rank for clips, as sampling may need them all, and writes those of rank 0."""
        if trainer.sanity_checking or not isinstance(pl_module, HasClips):
            return
        clips = pl_module.sample_clips()
        writer = _writer(trainer)
        if writer is not None:
            for tag, (video, fps) in clips.items():
                # there is no public way in
                writer._get_file_writer().add_summary(clip_summary(tag, video, fps), trainer.global_step)


@runtime_checkable
class HasActivity(Protocol):
    """A module whose temporal layers can be asked what they do."""

    def temporal_activity(self) -> Mapping[str, float]:
        """Layer → how far it is from doing nothing; empty without temporal layers."""
        ...


class TemporalActivity(StepCallback):
    """Writes what each temporal layer does, as curves under ``temporal``.

    Args:
        every: Optimizer steps between two points; the start is one, and the end.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the start."""
        super().on_train_start(trainer, pl_module)
        self._write(trainer, pl_module)

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes a point, where it is time."""
        if trainer.global_step % self.every == 0 or trainer.global_step == trainer.max_steps:
            self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        writer = _writer(trainer)
        if writer is not None and isinstance(pl_module, HasActivity):
            for layer, value in pl_module.temporal_activity().items():
                writer.add_scalar(f"temporal/{layer}", value, trainer.global_step)


class FpsHistogram(StepCallback):
    """Writes the distribution of ``batch.fps`` since the last histogram; silent for batches without fps.

    Args:
        every: Optimizer steps between two histograms.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._seen: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Notes the batch's fps."""
        fps = getattr(batch, "fps", None)
        if fps is not None:
            self._seen.append(fps.detach())

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes what was noted, where it is time."""
        if not self._seen or trainer.global_step % self.every:
            return
        writer = _writer(trainer)
        if writer is not None:
            writer.add_histogram("data/fps", torch.cat(self._seen).float().cpu(), trainer.global_step)
        self._seen.clear()


def _writer(trainer: Trainer) -> SummaryWriter | None:
    """TensorBoard's writer on rank 0, if the run has one."""
    boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    return boards[0].experiment if boards and trainer.is_global_zero else None

"""Callbacks that log more than losses: sampled clips, learning rate, frame rates seen, temporal activity."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from mav_lightning.common.log_names import LEARNING_RATE, TEMPORAL, TRAINED_FPS
from mav_lightning.common.sharding import whole_weights
from mav_lightning.training.logger_media import log_clips, log_histogram, log_scalars
from mav_lightning.training.metric_log import gather
from mav_lightning.training.step_callback import StepCallback, is_last_step

__all__ = ["FpsHistogram", "HasActivity", "HasClips", "LearningRate", "PlayingClips", "TemporalActivity"]


@runtime_checkable
class HasClips(Protocol):
    """A module that samples clips to look at while it trains."""

    def sample_clips(self) -> Mapping[str, tuple[NDArray[np.uint8], float]]:
        """Sample clips with the averaged weights; called at the end of every validation.

        Returns:
            Tag → clips, shape (N, T, H, W, 3), uint8, and their frame rate in frames per second.
        """
        ...


class PlayingClips(Callback):
    """Log the clips of a module that has `sample_clips` at the end of every validation."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sample on every rank, as sampling may need them all, and log the clips of rank 0."""
        if trainer.sanity_checking or not isinstance(pl_module, HasClips):
            return
        clips = pl_module.sample_clips()
        if trainer.is_global_zero:
            for tag, (video, fps) in clips.items():
                log_clips(trainer.loggers, _folder(trainer), tag, video, fps, trainer.global_step)


@runtime_checkable
class HasActivity(Protocol):
    """A module that measures its temporal layers."""

    def temporal_activity(self) -> Mapping[str, float]:
        """Return layer → distance from the identity; empty without temporal layers."""
        ...


class TemporalActivity(StepCallback):
    """Log the distance of each temporal layer from the identity, as curves under ``temporal``.

    Args:
        every: Optimizer steps between two points; the first and the last step are always logged.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the first point; a resumed run has it already."""
        super().on_train_start(trainer, pl_module)
        if trainer.global_step == 0:
            self._log(trainer, pl_module)

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log a point if one is due; the first step's place is that of the point before it."""
        if trainer.global_step > 1 and (self.completes(self.every) or is_last_step(trainer)):
            self._log(trainer, pl_module)

    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.loggers or not isinstance(pl_module, HasActivity):
            return
        with whole_weights(pl_module):
            values = {f"{TEMPORAL}/{layer}": value for layer, value in pl_module.temporal_activity().items()}
        if trainer.is_global_zero:
            log_scalars(trainer.loggers, values, max(trainer.global_step - 1, 0))


class FpsHistogram(StepCallback):
    """Log the distribution of ``batch.fps`` since the last histogram; nothing for batches without `fps`.

    Args:
        every: Optimizer steps between two histograms.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._seen: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Record the batch's frame rates."""
        fps = getattr(batch, "fps", None)
        if fps is not None:
            self._seen.append(fps.detach().cpu())

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what was recorded on all processes if a histogram is due, and after the last step."""
        if not self._seen or not (self.completes(self.every) or is_last_step(trainer)):
            return
        parts = gather(trainer, torch.cat(self._seen).float().cpu().numpy())
        if trainer.is_global_zero:
            log_histogram(trainer.loggers, _folder(trainer), TRAINED_FPS, np.concatenate(parts), trainer.global_step)
        self._seen.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return what was recorded since the last histogram, for the checkpoint."""
        return {"seen": torch.cat(self._seen).cpu()} if self._seen else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what was recorded since the last histogram."""
        self._seen = [state_dict["seen"]] if "seen" in state_dict else []


class LearningRate(Callback):
    """Log the learning rate as ``optimizer/lr``: the largest, if parameter groups differ."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Log the rate that this batch is trained with."""
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if rates:
            pl_module.log(LEARNING_RATE, max(map(float, rates)))


def _folder(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir)

"""A training that learns nothing and notes what it was shown."""

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from datamodules.batch import ClipBatch, JointBatch

__all__ = ["Recorder", "StopAfter", "fit"]


class Recorder(lightning.LightningModule):
    """Notes the clips it was shown, their pixels' sum, and the images beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.shown: list[tuple[list[str], float, list[str]]] = []

    def training_step(self, batch: ClipBatch | JointBatch, batch_idx: int) -> Tensor:
        clips, images = (batch.clips, batch.images.key) if isinstance(batch, JointBatch) else (batch, [])
        self.shown.append((clips.key, float(clips.pixels.double().sum()), images))
        return self.layer(clips.fps[:, None]).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class StopAfter(Callback):
    """Saves and leaves in the middle of a pass."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def fit(data: Any, steps: int, *callbacks: Callback, ckpt_path: Path | None = None) -> Recorder:
    """Trains a new recorder for `steps` steps, or from a checkpoint up to them."""
    module = Recorder()
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks), limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return module

"""The decoder's two trainings: how the world looks, from images; how it moves, from clips without text."""

from collections.abc import Mapping

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from numpy.typing import NDArray
from torch import Tensor

from datamodules.batch import ClipBatch, ImageBatch
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.modules.denoising import Denoising
from mav_lightning.modules.preview import ShapesPreview
from mav_lightning.modules.transfer import TransferReport, freeze_spatial, is_temporal, transfer

__all__ = ["SpatialDecoder", "TemporalDecoder"]


class SpatialDecoder(LightningModule):
    """Trains a denoiser on images with their CLIP image embeddings: the text-to-image half of Make-A-Video (§3.1).

    Args:
        net: The denoiser.
        denoising: How it is trained.
    """

    def __init__(self, net: NetDenoiser, denoising: Denoising) -> None:
        super().__init__()
        self.net, self.denoising = net, denoising

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """The denoising loss of one batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Logs the loss on unseen samples."""
        self._step(batch, "val")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """One optimizer over what is trainable."""
        return self.denoising.optimization(self)

    def losses(self, batch: ImageBatch) -> Tensor:
        """The loss of each sample, shape (B,)."""
        cond = self.denoising.condition(batch.pixels)
        return self.net.loss(batch.pixels, self._levels(len(batch)), cond)

    def _levels(self, count: int) -> Tensor:
        return self.denoising.noise(count, self.device)

    def _step(self, batch: ImageBatch, stage: str) -> Tensor:
        loss = self.losses(batch).mean()
        self.log(f"{stage}/loss", loss, batch_size=len(batch), sync_dist=stage == "val", prog_bar=True)
        return loss


class TemporalDecoder(SpatialDecoder):
    """Fine-tunes a spatial decoder, grown by temporal layers, on clips without text (§3.2 of Make-A-Video).

    It starts from `parent`'s weights and, before its first step, equals it frame by frame. The condition is the image
    embedding of a frame drawn at random: the paper's first frame would tell where the clip begins.

    Args:
        net: The denoiser, with temporal layers.
        denoising: How it is trained.
        parent: The trained spatial denoiser; every weight of it must have its place in `net`. None starts from nothing.
        spatial_lr: Factor of the learning rate of the spatial layers: 0 freezes them, 1 trains all alike.
        preview: Samples clips at every validation; None for none.

    Raises:
        UserError: `spatial_lr` below 0, or a parent that does not fit.
    """

    def __init__(
        self,
        net: NetDenoiser,
        denoising: Denoising,
        parent: NetDenoiser | None = None,
        spatial_lr: float = 1.0,
        preview: ShapesPreview | None = None,
    ) -> None:
        super().__init__(net, denoising)
        self.transferred: TransferReport | None = None if parent is None else transfer(parent, net)
        if spatial_lr < 0:
            raise UserError(
                f"spatial_lr: must be 0, which freezes the spatial layers, or more, got {spatial_lr:g}; try 1."
            )
        if spatial_lr == 0:
            freeze_spatial(net)
        self.spatial_lr, self.preview = spatial_lr, preview

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """One optimizer, in which the layers of the parent may have a learning rate of their own."""
        return self.denoising.optimization(self, lambda name: 1.0 if is_temporal(name) else self.spatial_lr)

    def losses(self, batch: ClipBatch) -> Tensor:  # type: ignore[override]
        """The loss of each clip, shape (B,)."""
        frame = int(torch.randint(batch.pixels.shape[2], ()))
        cond = self.denoising.condition(batch.pixels[:, :, frame])
        return self.net.loss(batch.pixels, self._levels(len(batch)), cond, batch.fps)

    def sample_clips(self) -> Mapping[str, tuple[NDArray[np.uint8], float]]:
        """The preview's clips; logs its numbers. Called at the end of every validation, with the averaged weights."""
        if self.preview is None:
            return {}
        clips, scores = self.preview(self.net, self.denoising.encoder, self.device)
        for name, value in scores.items():
            self.log(f"val/{name}", value, rank_zero_only=True)
        return clips

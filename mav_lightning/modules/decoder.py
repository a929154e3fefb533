"""The decoder's two trainings: how the world looks, from images; how it moves, from clips without text."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from numpy.typing import NDArray
from torch import Tensor

from datamodules.batch import ClipBatch, ImageBatch
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.diffusion.schedule import LogNormalNoise
from mav_lightning.modules.optim import MakeOptimizer, WarmupCosine, optimization
from mav_lightning.modules.preview import ShapesPreview
from mav_lightning.modules.transfer import TransferReport, freeze_spatial, is_temporal, transfer

__all__ = ["SpatialDecoder", "TemporalDecoder"]


class SpatialDecoder(LightningModule):
    """Trains a denoiser on images with their CLIP image embeddings: the text-to-image half of Make-A-Video (§3.1).

    Args:
        net: The denoiser.
        encoder: Images (B, 3, H, W) in [-1, 1] → image embeddings (B, D).
        noise: Draws the noise levels of training.
        optimizer: Makes the optimizer from the trainable parameters.
        schedule: Factor of the learning rate by step.
        cond_dropout: Share of samples trained without condition, for guidance.
        cond_noise: Standard deviation of the noise on the embedding, in units of its length. What stands between
            text and decoder never hits an image's embedding exactly, so the decoder should not lean on its last digit.
    """

    def __init__(
        self,
        net: NetDenoiser,
        encoder: Callable[[Tensor], Tensor],
        noise: LogNormalNoise,
        optimizer: MakeOptimizer,
        schedule: WarmupCosine,
        cond_dropout: float = 0.1,
        cond_noise: float = 0.3,
    ) -> None:
        super().__init__()
        self.net, self.encoder, self.noise = net, encoder, noise
        self.make_optimizer, self.schedule = optimizer, schedule
        self.cond_dropout, self.cond_noise = cond_dropout, cond_noise

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """The denoising loss of one batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Logs the loss on unseen samples."""
        self._step(batch, "val")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """One optimizer over what is trainable."""
        return optimization(self, self.make_optimizer, self.schedule)

    def losses(self, batch: ImageBatch) -> Tensor:
        """The loss of each sample, shape (B,)."""
        cond = self.condition(batch.pixels)
        return self.net.loss(batch.pixels, self._levels(len(batch)), cond)

    def condition(self, images: Tensor) -> Tensor:
        """Embeds images (B, 3, H, W), roughens the embeddings and drops some: (B, D)."""
        cond = self.encoder(images)
        cond = cond + self.cond_noise / cond.shape[1] ** 0.5 * torch.randn_like(cond)
        return cond * (torch.rand(len(cond), 1, device=cond.device) >= self.cond_dropout)

    def _levels(self, count: int) -> Tensor:
        return self.noise(count, self.device)

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
        parent: The trained spatial denoiser; every weight of it must have its place in `net`. None starts from nothing.
        spatial_lr: Factor of the learning rate of the spatial layers: 0 freezes them, 1 trains all alike.
        preview: Samples clips at every validation; None for none.
        encoder: As `SpatialDecoder`, like all that follow.
        noise: As there.
        optimizer: As there.
        schedule: As there.
        cond_dropout: As there.
        cond_noise: As there.
    """

    def __init__(
        self,
        net: NetDenoiser,
        encoder: Callable[[Tensor], Tensor],
        noise: LogNormalNoise,
        optimizer: MakeOptimizer,
        schedule: WarmupCosine,
        parent: NetDenoiser | None = None,
        spatial_lr: float = 1.0,
        preview: ShapesPreview | None = None,
        cond_dropout: float = 0.1,
        cond_noise: float = 0.3,
    ) -> None:
        super().__init__(net, encoder, noise, optimizer, schedule, cond_dropout, cond_noise)
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
        return optimization(
            self, self.make_optimizer, self.schedule, lambda name: 1.0 if is_temporal(name) else self.spatial_lr
        )

    def losses(self, batch: ClipBatch) -> Tensor:  # type: ignore[override]
        """The loss of each clip, shape (B,)."""
        frame = int(torch.randint(batch.pixels.shape[2], ()))
        cond = self.condition(batch.pixels[:, :, frame])
        return self.net.loss(batch.pixels, self._levels(len(batch)), cond, batch.fps)

    def sample_clips(self) -> Mapping[str, tuple[NDArray[np.uint8], float]]:
        """The preview's clips; logs its numbers. Called at the end of every validation, with the averaged weights."""
        if self.preview is None:
            return {}
        clips, scores = self.preview(self.net, self.encoder, self.device)
        for name, value in scores.items():
            self.log(f"val/{name}", value, rank_zero_only=True)
        return clips

"""Training the prior: text to image embeddings, from image-text pairs alone."""

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from datamodules.batch import ImageBatch
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.diffusion_prior import DiffusionPrior
from mav_lightning.diffusion.noise_levels import LogNormalNoise
from mav_lightning.modules.base import NetworkModule
from mav_lightning.modules.frozen import FrozenCLIP
from mav_lightning.modules.optim import MakeOptimizer, Schedule, optimization

__all__ = ["PriorModule"]


class PriorModule(NetworkModule):
    """Trains the diffusion prior of Make-A-Video (§3.1).

    Args:
        denoiser: The prior.
        encoder: The CLIP between whose two spaces it stands.
        noise: Draws the noise levels of training.
        optimizer: Makes the optimizer from the trainable parameters.
        schedule: Factor of the learning rate by step.
        cond_dropout: Share of captions trained without text, for guidance.

    Raises:
        UserError: A prior for other embeddings, or for captions of another length, than the encoder's.
    """

    network_name = "denoiser"

    def __init__(
        self,
        denoiser: DiffusionPrior,
        encoder: FrozenCLIP,
        noise: LogNormalNoise,
        optimizer: MakeOptimizer,
        schedule: Schedule,
        cond_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        for name in ("channels", "length"):
            told, given = getattr(denoiser.net, name, None), getattr(encoder, name)
            if told not in (None, given):
                raise UserError(f"module.denoiser.net.{name}: must be {given}, as the encoder's, got {told}.")
        self.denoiser, self.encoder, self.noise = denoiser, encoder, noise
        self.make_optimizer, self.schedule, self.cond_dropout = optimizer, schedule, cond_dropout

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """The squared error of the predicted embeddings, scaled to unit variance."""
        return self._loss(batch, "train")

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Logs the loss on unseen pairs, and how near drawn embeddings come to those of the captioned images."""
        self._loss(batch, "val")
        drawn = self.denoiser.predict(self.encoder.encode_words(batch.captions(), self.device), list(range(len(batch))))
        similarity = (drawn * self._images(batch)).sum(dim=1).mean()
        self.log("val/similarity", similarity, batch_size=len(batch), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """One optimizer over the transformer."""
        return optimization(self, self.make_optimizer, self.schedule)

    def losses(self, batch: ImageBatch) -> Tensor:
        """The loss of each pair, shape (B,)."""
        cond = self.encoder.encode_words(batch.captions(), self.device)
        cond = cond * (torch.rand(len(cond), 1, 1, device=self.device) >= self.cond_dropout)
        images = self._images(batch)
        return self.denoiser.loss(images * images.shape[1] ** 0.5, self.noise(len(images), self.device), cond)

    def _images(self, batch: ImageBatch) -> Tensor:
        return self.encoder(batch.pixels) if batch.embedding is None else batch.embedding

    def _loss(self, batch: ImageBatch, stage: str) -> Tensor:
        loss = self.losses(batch).mean()
        self.log(f"{stage}/loss", loss, batch_size=len(batch), sync_dist=stage == "val", prog_bar=True)
        return loss

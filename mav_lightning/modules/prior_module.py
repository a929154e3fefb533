"""Training of the prior: from text to image embeddings, on image-text pairs only."""

import zlib

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from datamodules.batch import ImageBatch
from mav_lightning.common.errors import UserError
from mav_lightning.common.log_names import SCORE
from mav_lightning.common.schema import Fraction
from mav_lightning.diffusion.diffusion_prior import DiffusionPrior
from mav_lightning.diffusion.noise_levels import LogNormalNoise
from mav_lightning.modules.base import NetworkModule
from mav_lightning.modules.frozen import FrozenCLIP
from mav_lightning.modules.optim import DEFAULT_OPTIMIZER, DEFAULT_SCHEDULE, MakeOptimizer, Schedule, optimization

__all__ = ["PriorModule"]


class PriorModule(NetworkModule):
    """Training of the diffusion prior of Make-A-Video (§3.1).

    Args:
        denoiser: The prior.
        encoder: CLIP, whose text space the prior maps to its image space.
        noise: Distribution of the noise levels. None for a mean of 0 and a standard deviation of 1.2.
        optimizer: Builds the optimizer from parameter groups. AdamW with learning rate 3e-4 by default.
        schedule: Learning-rate factor by step. Linear warm-up over 100 steps by default.
        cond_dropout: Fraction of captions trained without text, for classifier-free guidance.

    Raises:
        UserError: If the prior's embeddings or captions have another length than the encoder's.
    """

    network_name = "denoiser"

    def __init__(
        self,
        denoiser: DiffusionPrior,
        encoder: FrozenCLIP,
        noise: LogNormalNoise | None = None,
        optimizer: MakeOptimizer = DEFAULT_OPTIMIZER,
        schedule: Schedule = DEFAULT_SCHEDULE,
        cond_dropout: Fraction = 0.1,
    ) -> None:
        super().__init__()
        net = denoiser.net
        for name, found, needed in (
            ("channels", net.channels, encoder.channels),
            ("length", net.length, encoder.length),
        ):
            if found != needed:
                raise UserError(f"must be {needed} like the encoder's, got {found}.", argument=f"denoiser.net.{name}")
        self.denoiser, self.encoder = denoiser, encoder
        self.noise = LogNormalNoise(mean=0.0) if noise is None else noise
        self.make_optimizer, self.schedule, self.cond_dropout = optimizer, schedule, cond_dropout

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Compute the squared error of the predicted embeddings, scaled to unit variance."""
        return self.log_loss(self.losses(batch).mean(), "train", len(batch))

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Log the loss on held-out pairs, and the cosine similarity of sampled embeddings to those of the images."""
        self.log_loss(self.losses(batch).mean(), "val", len(batch))
        captions = self.encoder.encode_words(batch.captions(), self.device)
        samples = self.denoiser.predict(captions, [zlib.crc32(key.encode()) for key in batch.key])
        similarity = (samples * self._images(batch)).sum(dim=1).mean()
        self.log(f"{SCORE}/similarity", similarity, batch_size=len(batch), sync_dist=True)

    def test_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Log the loss of test pairs."""
        self.log_loss(self.losses(batch).mean(), "test", len(batch))

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Sample an image embedding, shape (B, D), for each caption of a batch."""
        captions = self.encoder.encode_words(batch.captions(), self.device)
        return self.denoiser.predict(captions, self.prediction_seeds(batch_idx, len(batch)))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return one optimizer for the network."""
        return optimization(self, self.make_optimizer, self.schedule)

    def losses(self, batch: ImageBatch) -> Tensor:
        """Compute the loss of each pair, shape (B,)."""
        cond = self.encoder.encode_words(batch.captions(), self.device)
        cond = cond * (torch.rand(len(cond), 1, 1, device=self.device) >= self.cond_dropout)
        images = self._images(batch)
        return self.denoiser.loss(images * images.shape[1] ** 0.5, self.noise(len(images), self.device), cond)

    def _images(self, batch: ImageBatch) -> Tensor:
        return self.encoder(batch.pixels) if batch.embedding is None else batch.embedding

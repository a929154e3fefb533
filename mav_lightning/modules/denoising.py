"""What the trainings of all denoisers of pixels share: conditions, noise, optimizer, and a parent to start from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from datamodules.batch import ClipBatch, ImageBatch, JointBatch
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.diffusion.noise_levels import LogNormalNoise
from mav_lightning.modules.base import NetworkModule
from mav_lightning.modules.optim import MakeOptimizer, Schedule, optimization
from mav_lightning.modules.transfer import TransferReport, freeze_spatial, is_temporal, transfer
from mav_lightning.nn.activity import temporal_activity

__all__ = ["Denoising", "DenoisingModule"]

B = TypeVar("B", ImageBatch, ClipBatch, ImageBatch | ClipBatch, ClipBatch | JointBatch)


@dataclass(frozen=True)
class Denoising:
    """How a denoiser is trained.

    Attributes:
        encoder: Images (B, 3, H, W) in [-1, 1] → image embeddings (B, D).
        noise: Draws the noise levels of training.
        optimizer: Makes the optimizer from the trainable parameters.
        schedule: Factor of the learning rate by step.
        cond_dropout: Share of samples trained without condition, for guidance.
        cond_noise: Standard deviation of the noise on the embedding, in units of its length. What stands between
            text and decoder never hits an image's embedding exactly, so the decoder should not lean on its last digit.
    """

    encoder: Callable[[Tensor], Tensor]
    noise: LogNormalNoise
    optimizer: MakeOptimizer
    schedule: Schedule
    cond_dropout: float = 0.1
    cond_noise: float = 0.3

    def condition(self, images: Tensor, cached: Tensor | None = None) -> Tensor:
        """Embeds images (B, 3, H, W), roughens the embeddings and drops some: (B, D).

        `cached` embeddings (B, D), where the data has them, spare the encoder.

        Raises:
            UserError: Cached embeddings of another length than the encoder's.
        """
        cond = self.encoder(images) if cached is None else cached
        wanted = getattr(self.encoder, "channels", cond.shape[1])
        if cond.shape[1] != wanted:
            raise UserError(
                f"data.embeddings: are {cond.shape[1]} long, the encoder's {wanted}; give the id that "
                "`mav data embed` prints for the encoder's own folder."
            )
        cond = cond + self.cond_noise / cond.shape[1] ** 0.5 * torch.randn_like(cond)
        return cond * (torch.rand(len(cond), 1, device=cond.device) >= self.cond_dropout)

    def condition_of_clips(self, batch: ClipBatch) -> Tensor:
        """As `condition`, of one frame of the clips, the same of all, drawn at random; or of the cached embeddings.

        The paper takes the first frame, which would tell where the clip begins.
        """
        frame = int(torch.randint(batch.pixels.shape[2], ()))
        return self.condition(batch.pixels[:, :, frame], batch.embedding)


class DenoisingModule(NetworkModule, Generic[B]):
    """Trains a denoiser by the mean of `losses`, which a subclass says.

    Args:
        denoiser: The denoiser.
        denoising: How it is trained.
        parent: A trained denoiser to start from; every weight of it must have its place in `denoiser`. None starts from
            nothing.
        spatial_lr: Factor of the learning rate of the spatial layers: 0 freezes them, 1 trains all alike.

    Attributes:
        given_channels: Channels that the network sees beside the noisy pixels.

    Raises:
        UserError: `spatial_lr` below 0, a parent that does not fit, or a network of other channels than its inputs.
    """

    network_name = "denoiser"
    given_channels = 0

    def __init__(
        self, denoiser: NetDenoiser, denoising: Denoising, parent: NetDenoiser | None = None, spatial_lr: float = 1.0
    ) -> None:
        super().__init__()
        seen, wanted = getattr(denoiser.net, "in_channels", None), 3 + self.given_channels
        if seen not in (None, wanted):
            raise UserError(f"module.denoiser.net.in_channels: must be {wanted} for {type(self).__name__}, got {seen}.")
        said, needed = getattr(denoiser.net, "out_channels", None), 3 * denoiser.outputs
        if said not in (None, needed):
            raise UserError(
                f"module.denoiser.net.out_channels: must be {needed} for a {type(denoiser).__name__}, got {said}."
            )
        told, given = getattr(denoiser.net, "cond_channels", None), getattr(denoising.encoder, "channels", None)
        if None not in (told, given) and told != given:
            raise UserError(
                f"module.denoiser.net.cond_channels: must be {given}, as the encoder's embeddings, got {told}."
            )
        self.denoiser, self.denoising, self.spatial_lr = denoiser, denoising, spatial_lr
        self.transferred: TransferReport | None = None if parent is None else transfer(parent, denoiser)
        if spatial_lr < 0:
            raise UserError(
                f"spatial_lr: must be 0, which freezes the spatial layers, or more, got {spatial_lr:g}; try 1."
            )
        if spatial_lr == 0:
            freeze_spatial(denoiser)

    def losses(self, batch: B) -> Tensor:
        """The loss of each sample, shape (B,)."""
        raise NotImplementedError

    def training_step(self, batch: B, batch_idx: int) -> Tensor:
        """The denoising loss of one batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: B, batch_idx: int) -> None:
        """Logs the loss on unseen samples."""
        self._step(batch, "val")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """One optimizer over what is trainable, in which the spatial layers may have a learning rate of their own."""
        make, schedule = self.denoising.optimizer, self.denoising.schedule
        return optimization(self, make, schedule, lambda name: 1.0 if is_temporal(name) else self.spatial_lr)

    def levels(self, batch: B) -> Tensor:
        """A noise level for each sample, shape (B,)."""
        return self.denoising.noise(len(batch), self.device)

    def temporal_activity(self) -> dict[str, float]:
        """How far each temporal layer is from doing nothing, as `mav_lightning.nn.activity.temporal_activity`."""
        return temporal_activity(self.denoiser.net)

    def _step(self, batch: B, stage: str) -> Tensor:
        loss = self.losses(batch).mean()
        self.log(f"{stage}/loss", loss, batch_size=len(batch), sync_dist=stage == "val", prog_bar=True)
        return loss

"""What all trainings of denoisers of images and clips share: conditioning, noise, optimizer, and a parent network."""

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

import torch
from einops import rearrange, reduce
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from datamodules.batch import ClipBatch, ImageBatch, JointBatch
from mav_lightning.common.arguments import check_argument
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import Fraction, NonNegativeFloat
from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.denoiser import EDMDenoiser, NetDenoiser, space_time_network
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.noise_levels import LogNormalNoise, karras_sigmas
from mav_lightning.diffusion.samplers import dpm_solver_pp_2m
from mav_lightning.modules.base import ImageEncoder, NetworkModule
from mav_lightning.modules.optim import DEFAULT_OPTIMIZER, DEFAULT_SCHEDULE, MakeOptimizer, Schedule, optimization
from mav_lightning.modules.transfer import TransferReport, freeze_spatial, transfer
from mav_lightning.networks.catalogue import node_of
from mav_lightning.nn.base import SpaceTimeNetwork

__all__ = ["BoundDenoiser", "ClipCondition", "Denoising", "DenoisingModule"]

PREDICT_STEPS = 16  # of DPM-Solver++ (2M), as the cascade takes by default
ClipCondition = Literal["random", "first", "mean"]
BoundDenoiser = Callable[[Tensor, Tensor, Tensor, Tensor | None], Denoised]  # x, sigma, cond, fps

B = TypeVar("B", ImageBatch, ClipBatch, ImageBatch | ClipBatch, ClipBatch | JointBatch)


@dataclass(frozen=True)
class Denoising:
    """Settings of denoising training.

    Attributes:
        encoder: Encoder of the conditioning image. None trains without image conditioning (all-zero embeddings), unless
            the batches carry cached embeddings.
        noise: Distribution of the noise levels.
        optimizer: Builds the optimizer from parameter groups. AdamW with learning rate 3e-4 by default.
        schedule: Learning-rate factor by step. Linear warm-up over 100 steps by default.
        cond_dropout: Fraction of samples trained without condition, for classifier-free guidance.
        cond_noise: Standard deviation of the noise added to the embeddings, relative to their length. The prior never
            predicts an image's embedding exactly, so the decoder should not depend on its details.
        clip_condition: Frames of a clip whose embedding is its condition, unless it is cached: a ``random`` one; the
            ``first``, as in the paper, which reveals where the clip begins; or the ``mean`` of all frames, normalized
            to unit length.
    """

    encoder: ImageEncoder | None = None
    noise: LogNormalNoise = field(default_factory=LogNormalNoise)
    optimizer: MakeOptimizer = DEFAULT_OPTIMIZER
    schedule: Schedule = DEFAULT_SCHEDULE
    cond_dropout: Fraction = 0.1
    cond_noise: NonNegativeFloat = 0.3
    clip_condition: ClipCondition = "random"

    def __post_init__(self) -> None:
        """Check the values."""
        check_argument("clip_condition", self.clip_condition, ClipCondition)

    def condition(self, images: Tensor, cached: Tensor | None, channels: int) -> Tensor:
        """Encode images, add Gaussian noise to the embeddings and zero a random fraction of them.

        Args:
            images: Images in [-1, 1], shape (B, 3, H, W).
            cached: Cached embeddings, shape (B, D), used instead of the encoder. None to encode the images.
            channels: Length D that the network takes.

        Returns:
            Embeddings, shape (B, D). Zeros without encoder and cached embeddings.

        Raises:
            UserError: If the cached embeddings have another length.
        """
        if cached is not None:
            cond = cached
        elif self.encoder is not None:
            cond = self.encoder(images)
        else:
            return images.new_zeros(len(images), channels)
        if cond.shape[1] != channels:
            raise UserError(
                f"the cached embeddings have length {cond.shape[1]}, and the network takes {channels}; cache those of "
                "the encoder that conditions the network.",
                argument="embeddings",
            )
        cond = cond + self.cond_noise / cond.shape[1] ** 0.5 * torch.randn_like(cond)
        kept: Tensor = cond * (torch.rand(len(cond), 1, device=cond.device) >= self.cond_dropout)
        return kept

    def condition_of_clips(self, batch: ClipBatch, channels: int) -> Tensor:
        """Compute `condition` from the frames that `clip_condition` names, or from cached embeddings.

        Args:
            batch: The clips.
            channels: Length D that the network takes.

        Returns:
            Embeddings, shape (B, D). Zeros without encoder and cached embeddings.

        Raises:
            UserError: If the cached embeddings have another length, or are not those of the first frames.
        """
        pixels, cached = batch.pixels, batch.embedding
        if cached is not None and self.clip_condition == "first":
            raise UserError(
                "`first` cannot use cached embeddings, which are means over the frames of a clip; leave `embeddings` "
                "of the data unset, or choose `mean`.",
                argument="clip_condition",
            )
        if self.clip_condition == "mean" and cached is None and self.encoder is not None:
            frames = self.encoder(rearrange(pixels, "b c t h w -> (b t) c h w"))
            cached = F.normalize(reduce(frames, "(b t) d -> b d", "mean", b=len(pixels)), dim=1)
        frame = torch.zeros(len(pixels), dtype=torch.long, device=pixels.device)
        if self.clip_condition == "random":
            frame = torch.randint(pixels.shape[2], (len(pixels),), device=pixels.device)
        return self.condition(pixels[torch.arange(len(pixels)), :, frame], cached, channels)


class DenoisingModule(NetworkModule, Generic[B]):
    """Base module for denoising training. Subclasses implement `losses`, whose mean is minimized.

    Args:
        denoiser: The denoiser, or a network, which is then wrapped in an `EDMDenoiser`.
        denoising: Settings of the training. None for the defaults of `Denoising`.
        parent: Trained denoiser to start from; all its weights must have a counterpart in `denoiser`. None to train
            from scratch.
        spatial_lr: Learning-rate factor of the spatial layers. 0 freezes them; 1 uses the same rate for all layers.

    Attributes:
        concat_channels: Number of input channels besides the noisy pixels.
        accepts_latents: Whether the network may also denoise latents, of any number of channels, in place of pixels.
        transferred: Report of the transfer from `parent`. None without parent.

    Raises:
        UserError: If `parent` does not fit, or the network's channels do not fit its inputs, outputs or encoder.
    """

    network_name = "denoiser"
    concat_channels = 0
    accepts_latents = False

    def __init__(
        self,
        denoiser: NetDenoiser | SpaceTimeNetwork,
        denoising: Denoising | None = None,
        parent: NetDenoiser | None = None,
        spatial_lr: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        if spatial_lr < 0:
            raise UserError(
                f"must be 0, which freezes the spatial layers, or more, got {spatial_lr:g}; try 1.",
                argument="spatial_lr",
            )
        self._wraps_network = isinstance(denoiser, SpaceTimeNetwork)
        self.denoiser = EDMDenoiser(denoiser) if isinstance(denoiser, SpaceTimeNetwork) else denoiser
        self.denoising, self.spatial_lr = Denoising() if denoising is None else denoising, spatial_lr
        self._check_channels()
        self.transferred: TransferReport | None = None if parent is None else transfer(parent, self.denoiser)
        if spatial_lr == 0:
            freeze_spatial(self.denoiser)

    @property
    def net(self) -> SpaceTimeNetwork:
        """The network inside the denoiser."""
        return space_time_network(self.denoiser)

    def network_config(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the config of the denoiser."""
        node = super().network_config(config)
        return node_of(EDMDenoiser, net=node, sigma_data=0.5) if self._wraps_network else node

    def losses(self, batch: B) -> Tensor:
        """Compute the loss of each sample, shape (B,)."""
        raise NotImplementedError

    def training_step(self, batch: B, batch_idx: int) -> Tensor:
        """Compute the denoising loss of a batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: B, batch_idx: int) -> None:
        """Log the denoising loss of held-out samples."""
        self._step(batch, "val")

    def test_step(self, batch: B, batch_idx: int) -> None:
        """Log the denoising loss of test samples."""
        self._step(batch, "test")

    @torch.no_grad()
    def predict_step(self, batch: B, batch_idx: int) -> Tensor:
        """Sample an image or a clip for each sample of a batch, conditioned on the batch's embeddings and frame rates.

        Args:
            batch: Batch as in training; its pixels are used for conditioning only.
            batch_idx: Number of the batch; it seeds the noise.

        Returns:
            Samples in [-1, 1], or latents, shape of the batch's pixels.
        """
        one = batch.clips if isinstance(batch, JointBatch) else batch
        correlation = 0.0 if isinstance(one, ImageBatch) else self.denoiser.frame_correlation
        seeds = self.prediction_seeds(batch_idx, len(one))
        draw = SeededNoise(seeds, one.pixels.shape[1:], self.device, correlation=correlation)
        cond, denoise = self.sampling_condition(one), self.sampling_denoiser(one)
        fps = None if isinstance(one, ImageBatch) else one.fps
        sample = dpm_solver_pp_2m(lambda x, sigma: denoise(x, sigma, cond, fps), draw, karras_sigmas(PREDICT_STEPS))
        return sample if one.latent else sample.clamp(-1, 1)

    def sampling_denoiser(self, batch: ImageBatch | ClipBatch) -> BoundDenoiser:
        """Return the denoiser that `predict_step` samples from, with its concatenated conditioning bound."""
        return self.denoiser

    def sampling_condition(self, batch: ImageBatch | ClipBatch) -> Tensor:
        """Return the conditioning of `predict_step`, (B, D): as in training, but without noise and random frames."""
        exact, channels = replace(self.denoising, cond_dropout=0.0, cond_noise=0.0), self.net.cond_channels
        if isinstance(batch, ImageBatch):
            return exact.condition(batch.pixels, batch.embedding, channels)
        if exact.clip_condition == "random" and batch.embedding is None:
            exact = replace(exact, clip_condition="first")
        return exact.condition_of_clips(batch, channels)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return one optimizer of all trainable weights; spatial layers may have their own learning rate."""
        own = self.net.temporal_names() | self.net.adapter_parameters().keys()
        full = {f"{self.network_name}.net.{name}" for name in own}
        return optimization(
            self,
            self.denoising.optimizer,
            self.denoising.schedule,
            lambda name: 1.0 if name in full else self.spatial_lr,
        )

    def levels(self, batch: Sized) -> Tensor:
        """Draw a noise level for each sample of a batch, shape (B,)."""
        return self.denoising.noise(len(batch), self.device)

    def condition(self, images: Tensor, cached: Tensor | None) -> Tensor:
        """Compute the conditioning of images (B, 3, H, W), see `Denoising.condition`."""
        return self.denoising.condition(images, cached, self.net.cond_channels)

    def condition_of_clips(self, batch: ClipBatch) -> Tensor:
        """Compute the conditioning of clips, see `Denoising.condition_of_clips`."""
        return self.denoising.condition_of_clips(batch, self.net.cond_channels)

    def temporal_activity(self) -> dict[str, float]:
        """Return each temporal layer's distance from the identity; 0 before training."""
        return self.net.temporal_activity()

    def _check_channels(self) -> None:
        net, encoder = self.net, self.denoising.encoder
        latent = self.accepts_latents and net.in_channels == self.denoiser.channels
        channels = self.denoiser.channels if latent else 3
        expected = {
            "in_channels": (net.in_channels, channels + self.concat_channels, f"for {type(self).__name__}"),
            "out_channels": (net.out_channels, channels * self.denoiser.outputs, f"for {type(self.denoiser).__name__}"),
        }
        if encoder is not None:
            expected["cond_channels"] = (net.cond_channels, encoder.channels, "like the encoder's embeddings")
        for name, (found, needed, reason) in expected.items():
            if found != needed:
                raise UserError(f"must be {needed} {reason}, got {found}.", argument=f"denoiser.net.{name}")

    def _check_batch(self, batch: ImageBatch | ClipBatch) -> None:
        """Check that a batch holds what the network denoises, and that latents come with cached embeddings."""
        if (found := batch.pixels.shape[1]) != self.denoiser.channels:
            raise UserError(
                f"the network denoises {self.denoiser.channels} channels, and the batches have {found}; latents are "
                "read with data.latents=ID.",
                argument="latents",
            )
        if batch.latent and batch.embedding is None and self.denoising.encoder is not None:
            raise UserError(
                "the encoder needs images, but the batches hold latents; cache embeddings with `mav data embed` and "
                "give data.embeddings=ID.",
                argument="embeddings",
            )

    def _step(self, batch: B, split: str) -> Tensor:
        for part in (batch.clips, batch.images) if isinstance(batch, JointBatch) else (batch,):
            self._check_batch(part)
        return self.log_loss(self.losses(batch).mean(), split, len(batch))

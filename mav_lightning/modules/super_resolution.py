"""Training of the super-resolution networks, on images and on clips."""

from dataclasses import replace

import torch
from torch import Tensor

from datamodules.batch import ClipBatch, ImageBatch
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeFloat, PositiveInt
from mav_lightning.diffusion.conditioning import augment_conditioning, downsample, upsample
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.diffusion.noise_levels import LogNormalNoise
from mav_lightning.modules.denoising import BoundDenoiser, Denoising, DenoisingModule
from mav_lightning.nn.base import SpaceTimeNetwork

__all__ = ["SuperResolution"]


class SuperResolution(DenoisingModule[ImageBatch | ClipBatch]):
    """Training of a denoiser to super-resolve: SRₗ and SRₕ on images, SRₗᵗ on clips, starting from SRₗ (§3.2).

    The network learns on crops. Its further input channels are the crop, downsampled, upsampled again and augmented
    with noise, and the level of that noise. With an encoder in `denoising`, the image embedding of the whole picture or
    clip is a further condition.

    Args:
        denoiser: The denoiser, with 7 input channels, or a network, which is then wrapped in an `EDMDenoiser`.
        denoising: Settings of the training. None for the defaults of `Denoising`.
        factor: Upsampling factor, at least 2.
        crop: Height and width of the crops, in pixels of the output, a multiple of `factor`.
        augmentation: Distribution of the noise level of the conditioning. None for a mean of -2.0 and a standard
            deviation of 0.7.
        parent: The trained denoiser to start from. None to train from scratch.
        spatial_lr: Learning-rate factor of the spatial layers. 0 freezes them; 1 uses the same rate for all layers.

    Raises:
        UserError: If `crop` is not a multiple of `factor`, `parent` does not fit, or the network's channels do not fit
            its inputs, outputs or encoder.
    """

    concat_channels = 4

    def __init__(
        self,
        denoiser: NetDenoiser | SpaceTimeNetwork,
        denoising: Denoising | None = None,
        factor: PositiveInt = 2,
        crop: PositiveInt = 32,
        augmentation: LogNormalNoise | None = None,
        parent: NetDenoiser | None = None,
        spatial_lr: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__(denoiser, denoising, parent, spatial_lr)
        if factor < 2 or crop % factor:
            raise UserError(
                f"must be a multiple of the factor, which is 2 or more; got {crop} and {factor}.", argument="crop"
            )
        self.factor, self.crop = factor, crop
        self.augmentation = LogNormalNoise(-2.0, 0.7) if augmentation is None else augmentation

    def sampling_denoiser(self, batch: ImageBatch | ClipBatch) -> BoundDenoiser:
        """Return the denoiser conditioned on the downsampled pixels, without noise on them."""
        low = upsample(downsample(batch.pixels, self.factor), self.factor)
        level = torch.full((len(batch),), 1e-3, device=self.device)
        concat_cond = augment_conditioning(low, level, torch.zeros_like(low))
        return lambda x, sigma, cond, fps: self.denoiser(x, sigma, cond, fps, concat_cond)

    def sampling_condition(self, batch: ImageBatch | ClipBatch) -> Tensor:
        """Return the conditioning of whole pictures or clips, as in training."""
        return super().sampling_condition(replace(batch, embedding=None))

    def losses(self, batch: ImageBatch | ClipBatch) -> Tensor:
        """Compute the loss of a crop of each image or clip, shape (B,)."""
        x0 = self._crop(batch.pixels)
        level = self.augmentation(len(batch), self.device)
        low = upsample(downsample(x0, self.factor), self.factor)
        concat_cond = augment_conditioning(low, level, torch.randn_like(x0))
        fps = None if isinstance(batch, ImageBatch) else batch.fps
        return self.denoiser.loss(x0, self.levels(batch), self._condition(batch), fps, concat_cond)

    def _condition(self, batch: ImageBatch | ClipBatch) -> Tensor:
        """Compute the conditioning of whole pictures or clips (B, D); zeros without encoder."""
        if isinstance(batch, ClipBatch) and self.denoising.encoder is not None:
            return self.condition_of_clips(replace(batch, embedding=None))
        return self.condition(batch.pixels, None)

    def _crop(self, pixels: Tensor) -> Tensor:
        """Crop each picture or clip at a random position on the grid of the low-resolution pixels."""
        side = pixels.shape[-1]
        if side < self.crop:
            raise UserError(
                f"{self.crop} pixels are more than the pictures have, {side}; choose a smaller crop.", argument="crop"
            )
        positions = (side - self.crop) // self.factor + 1
        tops, lefts = ((torch.randint(positions, (len(pixels),)) * self.factor).tolist() for _ in range(2))
        crops = [
            one[..., top : top + self.crop, left : left + self.crop]
            for one, top, left in zip(pixels, tops, lefts, strict=True)
        ]
        return torch.stack(crops)

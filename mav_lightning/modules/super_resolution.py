"""Training the super-resolution networks, on images and on clips."""

import torch
from torch import Tensor

from datamodules.batch import ClipBatch, ImageBatch
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.conditioning import enlarge, roughen, shrink
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.diffusion.noise_levels import LogNormalNoise
from mav_lightning.modules.denoising import Denoising, DenoisingModule

__all__ = ["SuperResolution"]


class SuperResolution(DenoisingModule[ImageBatch | ClipBatch]):
    """Trains a denoiser to enlarge: SRₗ and SRₕ on images, SRₗᵗ on clips, starting from SRₗ (§3.2).

    It learns on crops, and sees beside the noisy crop the same crop shrunk, enlarged again and roughened, and how much.

    Args:
        denoiser: The denoiser, with four further input channels.
        denoising: How it is trained.
        factor: How much larger the pictures become.
        crop: Side of the crops, in pixels of the large picture, a multiple of `factor`.
        augmentation: Draws how much the small picture is roughened.
        parent: The trained denoiser to start from. None starts from nothing.
        spatial_lr: As `DenoisingModule`.

    Raises:
        UserError: A crop that cannot be shrunk, or as `DenoisingModule`.
    """

    given_channels = 4

    def __init__(
        self,
        denoiser: NetDenoiser,
        denoising: Denoising,
        factor: int,
        crop: int,
        augmentation: LogNormalNoise,
        parent: NetDenoiser | None = None,
        spatial_lr: float = 1.0,
    ) -> None:
        super().__init__(denoiser, denoising, parent, spatial_lr)
        if factor < 2 or crop % factor:
            raise UserError(f"crop: must be a multiple of the factor, which is 2 or more; got {crop} and {factor}.")
        self.factor, self.crop, self.augmentation = factor, crop, augmentation

    def losses(self, batch: ImageBatch | ClipBatch) -> Tensor:
        """The loss of a crop of each image or clip, shape (B,)."""
        large = self._cropped(batch.pixels)
        rough = self.augmentation(len(batch), self.device)
        given = roughen(enlarge(shrink(large, self.factor), self.factor), rough, torch.randn_like(large))
        first_frame = batch.pixels if isinstance(batch, ImageBatch) else batch.pixels[:, :, 0]
        fps = None if isinstance(batch, ImageBatch) else batch.fps
        return self.denoiser.loss(large, self.levels(batch), self.denoising.condition(first_frame), fps, given)

    def _cropped(self, pixels: Tensor) -> Tensor:
        """A crop at the same random place of every picture and frame, on the grid of the small picture's pixels."""
        side = pixels.shape[-1]
        if side < self.crop:
            raise UserError(f"crop: {self.crop} pixels are more than the pictures have, {side}; choose a smaller one.")
        places = (side - self.crop) // self.factor + 1
        top, left = (int(torch.randint(places, ())) * self.factor for _ in range(2))
        return pixels[..., top : top + self.crop, left : left + self.crop]

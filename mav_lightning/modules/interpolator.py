"""Training the interpolation network: from known frames to those between, before and after them."""

from torch import Tensor

from datamodules.batch import ClipBatch
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.diffusion.masks import Known, MaskSampler
from mav_lightning.modules.denoising import Denoising, DenoisingModule

__all__ = ["Interpolator"]


class Interpolator(DenoisingModule[ClipBatch]):
    """Fine-tunes a temporal decoder to fill the unknown frames of a clip: ↑F of Make-A-Video (§3.3).

    The network sees four channels beside the noisy clip: its known frames, the others black, and the mask. They start
    at zero, so before its first step it equals its parent. `fps` is that of the clip it puts out. The loss is that of
    the unknown frames.

    Args:
        denoiser: The denoiser, with four further input channels.
        denoising: How it is trained.
        masks: Draws which frames are known.
        parent: The trained temporal denoiser. None starts from nothing.
        spatial_lr: As `DenoisingModule`.

    Raises:
        UserError: As `DenoisingModule`.
    """

    given_channels = 4

    def __init__(
        self,
        denoiser: NetDenoiser,
        denoising: Denoising,
        masks: MaskSampler,
        parent: NetDenoiser | None = None,
        spatial_lr: float = 1.0,
    ) -> None:
        super().__init__(denoiser, denoising, parent, spatial_lr)
        self.masks = masks

    def losses(self, batch: ClipBatch) -> Tensor:
        """The loss of the unknown frames of each clip, shape (B,)."""
        known = Known(batch.pixels, self.masks(len(batch), batch.pixels.shape[2], self.device))
        cond = self.denoising.condition_of_clips(batch)
        wanted = ~known.mask[:, None, :, None, None]
        return self.denoiser.loss(batch.pixels, self.levels(batch), cond, batch.fps, known.channels(), wanted)

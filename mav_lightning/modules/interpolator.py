"""Training of the interpolation network: from known frames to those between, before and after them."""

from torch import Tensor

from datamodules.batch import ClipBatch, ImageBatch
from mav_lightning.common.schema import NonNegativeFloat
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.diffusion.masks import MaskedDenoiser, MaskedFrames, MaskSampler, every
from mav_lightning.modules.denoising import BoundDenoiser, Denoising, DenoisingModule
from mav_lightning.nn.base import SpaceTimeNetwork

__all__ = ["Interpolator"]


class Interpolator(DenoisingModule[ClipBatch]):
    """Fine-tuning of a temporal decoder to predict the unknown frames of a clip: ↑F of Make-A-Video (§3.3).

    The network has four further input channels: the known frames, with the others black, and the mask. Their weights
    start at zero, so before its first step the network equals its parent. `fps` is that of the output. The loss is that
    of the unknown frames.

    Args:
        denoiser: The denoiser, with 7 input channels, or a network, which is then wrapped in an `EDMDenoiser`.
        denoising: Settings of the training. None for the defaults of `Denoising`.
        masks: Draws which frames are known. None for the defaults of `MaskSampler`.
        parent: The trained temporal denoiser. None to train from scratch.
        spatial_lr: Learning-rate factor of the spatial layers. 0 freezes them; 1 uses the same rate for all layers.

    Raises:
        UserError: If `parent` does not fit, or the network's channels do not fit its inputs, outputs or encoder.
    """

    concat_channels = 4

    def __init__(
        self,
        denoiser: NetDenoiser | SpaceTimeNetwork,
        denoising: Denoising | None = None,
        masks: MaskSampler | None = None,
        parent: NetDenoiser | None = None,
        spatial_lr: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__(denoiser, denoising, parent, spatial_lr)
        self.masks = MaskSampler() if masks is None else masks

    def sampling_denoiser(self, batch: ImageBatch | ClipBatch) -> BoundDenoiser:
        """Return the denoiser conditioned on the frames that remain at the largest frame skip that fits."""
        frames = batch.pixels.shape[2]
        mask = every(frames - 1, frames).to(self.device).expand(len(batch), frames)
        return MaskedDenoiser(self.denoiser, MaskedFrames(batch.pixels, mask))

    def losses(self, batch: ClipBatch) -> Tensor:
        """Compute the loss of the unknown frames of each clip, shape (B,)."""
        known = MaskedFrames(batch.pixels, self.masks(len(batch), batch.pixels.shape[2], self.device))
        cond = self.condition_of_clips(batch)
        loss_mask = ~known.mask[:, None, :, None, None]
        return self.denoiser.loss(batch.pixels, self.levels(batch), cond, batch.fps, known.channels(), loss_mask)

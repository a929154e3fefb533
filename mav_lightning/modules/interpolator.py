"""Training the interpolation network: from known frames to those between, before and after them."""

import torch
from torch import Tensor

from datamodules.batch import ClipBatch
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.diffusion.known import Known, MaskSampler
from mav_lightning.modules.decoder import TemporalDecoder
from mav_lightning.modules.denoising import Denoising

__all__ = ["Interpolator"]


class Interpolator(TemporalDecoder):
    """Fine-tunes a temporal decoder to fill the unknown frames of a clip: ↑F of Make-A-Video (§3.3).

    The network sees four channels beside the noisy clip: its known frames, the others black, and the mask. They start
    at zero, so before its first step it equals its parent. `fps` is that of the clip it puts out. The loss is that of
    the unknown frames.

    Args:
        net: The denoiser, with four further input channels.
        denoising: How it is trained.
        masks: Draws which frames are known.
        parent: The trained temporal denoiser. None starts from nothing.
        spatial_lr: As `TemporalDecoder`.

    Raises:
        UserError: As `TemporalDecoder`.
    """

    def __init__(
        self,
        net: NetDenoiser,
        denoising: Denoising,
        masks: MaskSampler,
        parent: NetDenoiser | None = None,
        spatial_lr: float = 1.0,
    ) -> None:
        super().__init__(net, denoising, parent, spatial_lr)
        self.masks = masks

    def losses(self, batch: ClipBatch) -> Tensor:  # type: ignore[override]
        """The loss of the unknown frames of each clip, shape (B,)."""
        frames = batch.pixels.shape[2]
        known = Known(batch.pixels, self.masks(len(batch), frames, self.device))
        cond = self.denoising.condition(batch.pixels[:, :, int(torch.randint(frames, ()))])
        wanted = ~known.mask[:, None, :, None, None]
        return self.net.loss(batch.pixels, self._levels(len(batch)), cond, batch.fps, known.channels(), wanted)

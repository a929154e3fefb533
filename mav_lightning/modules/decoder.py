"""The two trainings of the decoder: appearance from images, and motion from clips without text."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.batch import ClipBatch, ImageBatch, JointBatch
from mav_lightning.common.log_names import SCORE
from mav_lightning.common.schema import NonNegativeFloat
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.modules.denoising import Denoising, DenoisingModule
from mav_lightning.modules.preview import DecoderPreview
from mav_lightning.nn.base import SpaceTimeNetwork

__all__ = ["SpatialDecoder", "TemporalDecoder"]


class SpatialDecoder(DenoisingModule[ImageBatch]):
    """Training on images with their CLIP image embeddings: the text-to-image half of Make-A-Video (§3.1).

    Args:
        denoiser: The denoiser, or a network, which is then wrapped in an `EDMDenoiser`.
        denoising: Settings of the training. None for the defaults of `Denoising`.

    Raises:
        UserError: If the network's channels do not fit its inputs, outputs or encoder.
    """

    accepts_latents = True

    def __init__(self, denoiser: NetDenoiser | SpaceTimeNetwork, denoising: Denoising | None = None) -> None:
        super().__init__(denoiser, denoising)

    def losses(self, batch: ImageBatch) -> Tensor:
        """Compute the loss of each image, shape (B,)."""
        cond = self.condition(batch.pixels, batch.embedding)
        return self.denoiser.loss(batch.pixels, self.levels(batch), cond)


class TemporalDecoder(DenoisingModule[ClipBatch | JointBatch]):
    """Fine-tuning of a spatial decoder, extended by temporal layers, on clips without text (§3.2 of Make-A-Video).

    It starts from the weights of `parent` and, before its first step, equals it frame by frame.

    Args:
        denoiser: The denoiser, with temporal layers, or a network, which is then wrapped in an `EDMDenoiser`.
        denoising: Settings of the training. None for the defaults of `Denoising`.
        parent: The trained spatial denoiser. None to train from scratch.
        spatial_lr: Learning-rate factor of the spatial layers. 0 freezes them; 1 uses the same rate for all layers.
        preview: Samples clips at every validation. None for no preview.

    Raises:
        UserError: If `parent` does not fit, or the network's channels do not fit its inputs, outputs or encoder.
    """

    accepts_latents = True

    def __init__(
        self,
        denoiser: NetDenoiser | SpaceTimeNetwork,
        denoising: Denoising | None = None,
        parent: NetDenoiser | None = None,
        spatial_lr: NonNegativeFloat = 1.0,
        preview: DecoderPreview | None = None,
    ) -> None:
        super().__init__(denoiser, denoising, parent, spatial_lr)
        self.preview = preview

    def losses(self, batch: ClipBatch | JointBatch) -> Tensor:
        """Compute the loss of each clip and, in joint batches, of each image, which skips time: shape (B,)."""
        if isinstance(batch, JointBatch):
            images = batch.images
            cond = self.condition(images.pixels, images.embedding)
            return torch.cat([self.losses(batch.clips), self.denoiser.loss(images.pixels, self.levels(images), cond)])
        cond = self.condition_of_clips(batch)
        return self.denoiser.loss(batch.pixels, self.levels(batch), cond, batch.fps)

    def sample_clips(self) -> Mapping[str, tuple[NDArray[np.uint8], float]]:
        """Return the preview's clips and log its scores; called after validation, with averaged weights in place."""
        if self.preview is None:
            return {}
        clips, scores = self.preview(self.denoiser, self.denoising.encoder, self.device)
        for name, value in scores.items():
            self.log(f"{SCORE}/{name}", value, rank_zero_only=True)
        return clips

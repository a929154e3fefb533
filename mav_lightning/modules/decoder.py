"""The decoder's two trainings: how the world looks, from images; how it moves, from clips without text."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.batch import ClipBatch, ImageBatch, JointBatch
from mav_lightning.diffusion.denoiser import NetDenoiser
from mav_lightning.modules.denoising import Denoising, DenoisingModule
from mav_lightning.modules.preview import ShapesPreview

__all__ = ["SpatialDecoder", "TemporalDecoder"]


class SpatialDecoder(DenoisingModule[ImageBatch]):
    """Trains a denoiser on images with their CLIP image embeddings: the text-to-image half of Make-A-Video (§3.1).

    Args:
        denoiser: The denoiser.
        denoising: How it is trained.
    """

    def __init__(self, denoiser: NetDenoiser, denoising: Denoising) -> None:
        super().__init__(denoiser, denoising)

    def losses(self, batch: ImageBatch) -> Tensor:
        """The loss of each image, shape (B,)."""
        return _losses_of_images(self, batch)


class TemporalDecoder(DenoisingModule[ClipBatch | JointBatch]):
    """Fine-tunes a spatial decoder, grown by temporal layers, on clips without text (§3.2 of Make-A-Video).

    It starts from `parent`'s weights and, before its first step, equals it frame by frame.

    Args:
        denoiser: The denoiser, with temporal layers.
        denoising: How it is trained.
        parent: The trained spatial denoiser. None starts from nothing.
        spatial_lr: As `DenoisingModule`.
        preview: Samples clips at every validation; None for none.

    Raises:
        UserError: As `DenoisingModule`.
    """

    def __init__(
        self,
        denoiser: NetDenoiser,
        denoising: Denoising,
        parent: NetDenoiser | None = None,
        spatial_lr: float = 1.0,
        preview: ShapesPreview | None = None,
    ) -> None:
        super().__init__(denoiser, denoising, parent, spatial_lr)
        self.preview = preview

    def losses(self, batch: ClipBatch | JointBatch) -> Tensor:
        """The loss of each clip, and in joint batches of each image, which skips time: shape (B,)."""
        if isinstance(batch, JointBatch):
            return torch.cat([self.losses(batch.clips), _losses_of_images(self, batch.images)])
        cond = self.denoising.condition_of_clips(batch)
        return self.denoiser.loss(batch.pixels, self.levels(batch), cond, batch.fps)

    def sample_clips(self) -> Mapping[str, tuple[NDArray[np.uint8], float]]:
        """The preview's clips; logs its numbers. Called at the end of every validation, with the averaged weights."""
        if self.preview is None:
            return {}
        clips, scores = self.preview(self.denoiser, self.denoising.encoder, self.device)
        for name, value in scores.items():
            self.log(f"val/{name}", value, rank_zero_only=True)
        return clips


def _losses_of_images(module: DenoisingModule, batch: ImageBatch) -> Tensor:
    cond = module.denoising.condition(batch.pixels, batch.embedding)
    return module.denoiser.loss(batch.pixels, module.levels(batch), cond)

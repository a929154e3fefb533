"""Frames themselves, for measures of reconstruction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Measurement, MeasurementSettings
from evaluation.resize import check_frames

__all__ = ["FramePixels", "FramePixelsSettings"]


class FramePixels(Measurement):
    """The pixels of a clip: (T · H, W · 3), uint8.

    They take as much space among the stored features as the decoded clip, so measure small frames or few clips with
    it, or resize them in the protocol.
    """

    def prepare(self, clip: Clip) -> Tensor:
        """Return the pixels, shape (T · H, W · 3), uint8."""
        check_frames(clip.pixels)
        return torch.from_numpy(clip.pixels.reshape(clip.pixels.shape[0] * clip.pixels.shape[1], -1).copy())


@dataclass(frozen=True)
class FramePixelsSettings(MeasurementSettings):
    """Settings of `FramePixels`; there are none."""

    kind = "frames"
    network = FramePixels

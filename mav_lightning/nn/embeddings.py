"""Embeddings of numbers: noise level, frame rate, and frame times in seconds."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat, PositiveInt
from mav_lightning.nn.initialization import zero_init

__all__ = ["FRAME_FEATURES", "FourierFeatures", "FpsConditioning", "FrameTime", "NumberEmbedding"]

FpsConditioning = Literal["off", "embedding", "seconds", "only_seconds"]

FRAME_FEATURES = 32  # of the index of a frame, and of its time in seconds: cosines, then sines


class FourierFeatures(nn.Module):
    """Sines and cosines of a number at geometrically spaced frequencies.

    Args:
        features: Number of features, even.
        lowest: Lowest frequency, in radians per unit of the number.
        highest: Highest frequency, in radians per unit of the number.

    Raises:
        UserError: If `features` is odd.
    """

    frequencies: Tensor

    def __init__(self, features: PositiveInt, lowest: PositiveFloat, highest: PositiveFloat) -> None:
        super().__init__()
        if features % 2:
            raise UserError(f"must be even, got {features}.", argument="features")
        frequencies = torch.logspace(math.log10(lowest), math.log10(highest), features // 2)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map numbers of any shape (...) to features (..., F)."""
        angles = x[..., None] * self.frequencies
        return torch.cat([angles.cos(), angles.sin()], dim=-1)


class NumberEmbedding(nn.Sequential):
    """Fourier features followed by a two-layer perceptron: (...) → (..., channels).

    Args:
        channels: Length of the embedding.
        lowest: Lowest frequency, in radians per unit of the number.
        highest: Highest frequency, in radians per unit of the number.
        zero: If True, zero-initialize the last layer, so that the embedding starts without effect.
    """

    def __init__(
        self, channels: PositiveInt, lowest: PositiveFloat, highest: PositiveFloat, zero: bool = False
    ) -> None:
        last = nn.Linear(channels, channels)
        if zero:
            zero_init(last)
        super().__init__(FourierFeatures(64, lowest, highest), nn.Linear(64, channels), nn.SiLU(), last)


class FrameTime(nn.Module):
    """Features of each frame's position in its clip: its index, its time in seconds, or both.

    Without frame-rate conditioning a network may see frame indices only. Both are centered on the clip, so that a law
    of motion in seconds looks the same at every frame rate.

    Args:
        fps: Frame-rate conditioning of the network: ``seconds`` adds the time in seconds to the index, ``only_seconds``
            replaces the index.

    Attributes:
        channels: Total number of features.
    """

    def __init__(self, fps: FpsConditioning) -> None:
        super().__init__()
        index, seconds = fps != "only_seconds", fps in ("seconds", "only_seconds")
        self.index = FourierFeatures(FRAME_FEATURES, 0.05, 1.5) if index else None
        self.seconds = FourierFeatures(FRAME_FEATURES, 0.3, 24.0) if seconds else None
        self.channels = FRAME_FEATURES * (index + seconds)

    def forward(self, frames: int, fps: Tensor) -> Tensor:
        """Embed the positions of T frames at given frame rates.

        Args:
            frames: Number of frames T.
            fps: Frame rate of each clip in frames per second, shape (B,).

        Returns:
            Features, shape (B, T, channels).
        """
        index = torch.arange(frames, device=fps.device, dtype=torch.float32) - (frames - 1) / 2
        parts = [] if self.index is None else [self.index(index).expand(len(fps), -1, -1)]
        if self.seconds is not None:
            parts.append(self.seconds(index / fps.float()[:, None]))
        return torch.cat(parts, dim=-1)

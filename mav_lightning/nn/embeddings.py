"""Numbers as vectors: noise level, frame rate and time in seconds."""

import math

import torch
from torch import Tensor, nn

__all__ = ["FourierFeatures", "FrameTime", "NumberEmbedding"]


class FourierFeatures(nn.Module):
    """Sines and cosines of a number at geometrically spaced frequencies.

    Args:
        features: Number of features, even.
        lowest: Lowest frequency, in radians per unit.
        highest: Highest frequency.
    """

    frequencies: Tensor

    def __init__(self, features: int, lowest: float, highest: float) -> None:
        super().__init__()
        if features % 2:
            raise ValueError(f"FourierFeatures: `features` must be even, got {features}.")
        frequencies = torch.logspace(math.log10(lowest), math.log10(highest), features // 2)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps numbers of any shape (...) to features (..., F)."""
        angles = x[..., None] * self.frequencies
        return torch.cat([angles.cos(), angles.sin()], dim=-1)


class NumberEmbedding(nn.Sequential):
    """Fourier features through two linear layers: (...) → (..., channels).

    Args:
        channels: Of the result.
        lowest: Lowest frequency, in radians per unit of the number.
        highest: Highest frequency.
        zero: Whether the last layer starts at zero, so that the embedding starts without effect.
    """

    def __init__(self, channels: int, lowest: float, highest: float, zero: bool = False) -> None:
        last = nn.Linear(channels, channels)
        if zero:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        super().__init__(FourierFeatures(64, lowest, highest), nn.Linear(64, channels), nn.SiLU(), last)


class FrameTime(nn.Module):
    """Where each frame stands in its clip: by number, and, given the frame rate, in seconds.

    Frame numbers are all that a network without fps conditioning may know. Seconds are centred on the clip, so that a
    law of motion that holds in seconds looks the same at every frame rate.

    Args:
        channels: Channels of the result.
        seconds: Whether seconds enter.
    """

    def __init__(self, channels: int, seconds: bool = True) -> None:
        super().__init__()
        self.number = FourierFeatures(channels, 0.05, 1.5)
        self.seconds = FourierFeatures(channels, 0.3, 24.0) if seconds else None
        self.channels = channels * (2 if seconds else 1)

    def forward(self, frames: int, fps: Tensor) -> Tensor:
        """Embeds T `frames` at `fps`, shape (B,), frames per second → (B, T, channels)."""
        number = torch.arange(frames, device=fps.device, dtype=torch.float32) - (frames - 1) / 2
        parts = [self.number(number).expand(len(fps), -1, -1)]
        if self.seconds is not None:
            parts.append(self.seconds(number / fps.float()[:, None]))
        return torch.cat(parts, dim=-1)

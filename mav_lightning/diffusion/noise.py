"""Noise of clips: seeded, with one generator per clip, and correlated between frames."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["MOST_SEEDS", "SeededNoise", "correlated", "noise_like"]

MOST_SEEDS = 1 << 48  # the bits above hold the stream


def correlated(noise: Tensor, shared: Tensor, correlation: float) -> Tensor:
    """Mix noise so that every two frames of a clip have the given correlation; its variance stays 1.

    References:
        Preserve your own correlation (Ge et al., 2023), §4.1: mixed noise. https://arxiv.org/abs/2305.10474

    Args:
        noise: Independent unit noise of clips, shape (..., T, H, W).
        shared: Unit noise that all frames share, shape (..., 1, H, W).
        correlation: Fraction of the variance that the frames share, from 0 to 1.
    """
    mixed: Tensor = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * noise
    return mixed


def noise_like(x: Tensor, correlation: float = 0.0, offset: float = 0.0) -> Tensor:
    """Draw training noise from PyTorch's global generator.

    Args:
        x: Samples, shape (B, ...). Those of shape (B, C, T, H, W) are clips.
        correlation: Correlation between the frames of a clip, see `correlated`. Ignored for other samples.
        offset: Standard deviation of noise that is constant over all pixels and frames of a channel, added to the unit
            noise, so that the mean of a channel is learned at high noise levels too.

    References:
        Diffusion with offset noise (Guttenberg, 2023). https://www.crosslabs.org/blog/diffusion-with-offset-noise
    """
    noise = torch.randn_like(x)
    if correlation and x.ndim == 5:
        noise = correlated(noise, torch.randn_like(x[:, :, :1]), correlation)
    if offset and x.ndim > 2:
        noise = noise + offset * torch.randn_like(x.flatten(2)[..., :1]).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
    return noise


class SeededNoise:
    """Source of unit noise for a batch of clips, each with its own generator, so that clips are independent.

    Sampling starts from the first draw; samplers that add noise draw again. Row *i* of each draw depends only on
    ``seeds[i]``, `shape` and the number of earlier draws.

    Args:
        seeds: One seed per clip, B of them, from 0 to `MOST_SEEDS` - 1.
        shape: Shape of one clip.
        device: Device of the result. Noise is always drawn on the CPU, in float32.
        stream: Streams of one seed are independent. Each stage uses its own, so that stages do not affect each other.
        correlation: Correlation between the frames of a clip of `shape` (..., T, H, W), see `correlated`.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        stream: int = 0,
        correlation: float = 0.0,
    ) -> None:
        self._generators = [torch.Generator().manual_seed(seed + stream * MOST_SEEDS) for seed in seeds]
        self._shape, self._device, self._correlation = tuple(shape), device, correlation

    def __call__(self) -> Tensor:
        """Draw unit noise, shape (B, ...): one sample of the given shape per seed."""
        return torch.stack([self._draw(generator) for generator in self._generators]).to(self._device)

    def _draw(self, generator: torch.Generator) -> Tensor:
        noise = torch.randn(self._shape, generator=generator)
        if not self._correlation:
            return noise
        *before, _, height, width = self._shape
        return correlated(noise, torch.randn(*before, 1, height, width, generator=generator), self._correlation)

"""Seeded noise: one generator per clip, so that its noise depends on neither batch nor number of devices."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["MOST_SEEDS", "SeededNoise"]

MOST_SEEDS = 1 << 48  # the bits above hold the stream


class SeededNoise:
    """Source of unit noise for a batch of clips, each with its own generator.

    Sampling starts from the first draw; samplers that add noise draw again. Row *i* of each draw depends only on
    ``seeds[i]``, `shape` and the number of earlier draws.

    Args:
        seeds: One seed per clip, B of them, from 0 to `MOST_SEEDS` - 1.
        shape: Shape of one clip.
        device: Device of the result. Noise is always drawn on the CPU, in float32.
        stream: Streams of one seed are independent. Each stage uses its own, so that stages do not affect each other.
    """

    def __init__(
        self, seeds: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu", stream: int = 0
    ) -> None:
        self._generators = [torch.Generator().manual_seed(seed + stream * MOST_SEEDS) for seed in seeds]
        self._shape, self._device = tuple(shape), device

    def __call__(self) -> Tensor:
        """Draw unit noise, shape (B, ...): one sample of the given shape per seed."""
        rows = [torch.randn(self._shape, generator=generator) for generator in self._generators]
        return torch.stack(rows).to(self._device)

"""One generator per clip seed: clip *i* meets the same noise in any batch, on any number of devices."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["MOST_SEEDS", "SeededNoise"]

MOST_SEEDS = 1 << 48  # above them stands the stream


class SeededNoise:
    """Draws unit noise for a batch of clips, each from its own generator.

    The first draw is where sampling starts; samplers that add noise on the way draw again. Row *i* of every draw
    depends on ``seeds[i]``, `shape` and the number of draws before it alone.

    Args:
        seeds: One for each clip, B of them, from 0 to `MOST_SEEDS` - 1.
        shape: Of one clip.
        device: Where the noise is wanted; it is always drawn on the CPU, in float32.
        stream: Different streams of one seed are independent, so that one stage's draws leave another's alone.
    """

    def __init__(
        self, seeds: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu", stream: int = 0
    ) -> None:
        self._generators = [torch.Generator().manual_seed(seed + stream * MOST_SEEDS) for seed in seeds]
        self._shape, self._device = tuple(shape), device

    def __call__(self) -> Tensor:
        """The next unit noise, shape (B, *shape)."""
        rows = [torch.randn(self._shape, generator=generator) for generator in self._generators]
        return torch.stack(rows).to(self._device)

"""One generator per clip seed: clip *i* starts from the same noise in any batch, on any number of devices."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["seeded_noise"]


def seeded_noise(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Unit noise for each seed, shape (len(seeds), *shape), float32 on the CPU.

    Row *i* depends on ``seeds[i]`` and `shape` alone.
    """
    return torch.stack([torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds])

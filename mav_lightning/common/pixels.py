"""Conversion between 8-bit pixels and network values in [-1, 1]."""

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["clip_input", "dequantize", "from_uint8", "quantize", "to_uint8"]


def dequantize(pixels: Tensor) -> Tensor:
    """Scale 8-bit values of any shape to float32 in [-1, 1], as x / 127.5 - 1."""
    return pixels.float() / 127.5 - 1


def quantize(pixels: Tensor) -> Tensor:
    """Clamp values of any shape to [-1, 1] and round them to uint8, as round((x + 1) · 127.5)."""
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def to_uint8(clips: Tensor) -> NDArray[np.uint8]:
    """Convert clips (N, 3, T, H, W) in [-1, 1] to channels-last uint8 arrays (N, T, H, W, 3)."""
    return rearrange(quantize(clips), "n c t h w -> n t h w c").cpu().numpy()


def from_uint8(frames: NDArray[np.uint8]) -> Tensor:
    """Invert `to_uint8` exactly: (N, T, H, W, 3) uint8 to (N, 3, T, H, W) float32 in [-1, 1].

    The result is a view with channels-last strides; call `.contiguous()` where memory order matters.
    """
    return dequantize(rearrange(torch.from_numpy(np.ascontiguousarray(frames)), "n t h w c -> n c t h w"))


def clip_input(pixels: Tensor, size: int, mean: Tensor, std: Tensor) -> Tensor:
    """Prepare images as CLIP models of transformers read them.

    Args:
        pixels: Images of any size in [-1, 1], shape (B, 3, H, W).
        size: Height and width that the model reads, in pixels.
        mean: Mean of its training pixels in [0, 1], shape (3, 1, 1).
        std: Standard deviation of its training pixels in [0, 1], shape (3, 1, 1).

    Returns:
        Normalized images, shape (B, 3, size, size).
    """
    if pixels.shape[-2:] != (size, size):
        pixels = F.interpolate(pixels, (size, size), mode="bicubic", antialias=True)
    return ((pixels.clamp(-1, 1) + 1) / 2 - mean) / std

r"""Conditioning of the super-resolution networks: a low-resolution picture, upsampled and augmented (§3.2, §3.4).

The low-resolution picture is upsampled to the output size and gets Gaussian noise whose level is given to the network;
in training the level is drawn for every sample. Sampling with a little noise keeps the network from trusting the errors
of the previous stage.

References:
    Cascaded diffusion models (Ho et al., 2021), §4: Gaussian conditioning augmentation. https://arxiv.org/abs/2106.15282
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["augment_conditioning", "downsample", "upsample"]


def downsample(x: Tensor, factor: int) -> Tensor:
    """Average blocks of factor × factor pixels: (..., C, H, W) → (..., C, H / factor, W / factor)."""
    blocks: Tensor = F.avg_pool2d(x.flatten(0, -4), factor).unflatten(0, x.shape[:-3])
    return blocks


def upsample(x: Tensor, factor: int, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """Upsample bilinearly or bicubically: (..., C, H, W) → (..., C, H * factor, W * factor)."""
    flat = F.interpolate(x.flatten(0, -4), scale_factor=factor, mode=mode, antialias=mode == "bicubic")
    upsampled: Tensor = flat.unflatten(0, x.shape[:-3])
    return upsampled


def augment_conditioning(x: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    r"""Add noise to the conditioning and append its level as a channel.

    Args:
        x: Upsampled pictures or clips, shape (B, 3, ...).
        level: Standard deviation of the noise, shape (B,), above 0.
        noise: Unit noise, broadcast to `x`.

    Returns:
        The noisy pictures and a channel of :math:`\ln(\mathrm{level})/4`, shape (B, 4, ...).
    """
    column = level.reshape(-1, *[1] * (x.ndim - 1))
    return torch.cat([x + column * noise, (column.log() / 4).expand_as(x[:, :1])], dim=1)

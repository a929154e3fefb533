r"""What a super-resolution network is given: a smaller picture, enlarged and roughened (§3.2, §3.4).

The small picture is enlarged to the wanted size and gets noise of a level that the network is told, drawn anew for
every sample in training. Sampled with a little of it, the network does not trust what the stage before got wrong.

References:
    Cascaded diffusion models (Ho et al., 2021), §4: Gaussian conditioning augmentation. https://arxiv.org/abs/2106.15282
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["enlarge", "roughen", "shrink"]


def shrink(x: Tensor, factor: int) -> Tensor:
    """Averages squares of factor × factor pixels: (…, C, H, W) → (…, C, H / factor, W / factor)."""
    return F.avg_pool2d(x.flatten(0, -4), factor).unflatten(0, x.shape[:-3])


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Enlarges bilinearly: (…, C, H, W) → (…, C, H · factor, W · factor)."""
    flat = x.flatten(0, -4)
    return F.interpolate(flat, scale_factor=factor, mode="bilinear").unflatten(0, x.shape[:-3])


def roughen(x: Tensor, level: Tensor, eps: Tensor) -> Tensor:
    r"""Adds noise and tells its level: what the network sees beside the noisy picture.

    Args:
        x: Enlarged pictures or clips, shape (B, 3, …).
        level: Standard deviation of the noise, shape (B,), above 0.
        eps: Unit noise, broadcast to `x`.

    Returns:
        The rough pictures and a channel of :math:`\ln(\mathrm{level})/4`, shape (B, 4, …).
    """
    column = level.reshape(-1, *[1] * (x.ndim - 1))
    return torch.cat([x + column * eps, (column.log() / 4).expand_as(x[:, :1])], dim=1)

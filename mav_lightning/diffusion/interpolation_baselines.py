"""Frame interpolation without a network: the baselines of the interpolation network."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

__all__ = ["INTERPOLATIONS", "linear", "repeat"]


def linear(clips: Tensor, skip: int) -> Tensor:
    """Blend neighboring frames linearly.

    Args:
        clips: Clips, shape (B, C, T, H, W).
        skip: Output frames per input frame.

    Returns:
        Clips, shape (B, C, (T - 1) * skip + 1, H, W); frame `skip` * n is input frame n.
    """
    weight = torch.arange(skip, dtype=clips.dtype, device=clips.device) / skip
    blends = torch.lerp(clips[:, :, :-1, None], clips[:, :, 1:, None], weight[:, None, None])
    return torch.cat([rearrange(blends, "b c t skip h w -> b c (t skip) h w"), clips[:, :, -1:]], dim=2)


def repeat(clips: Tensor, skip: int) -> Tensor:
    """Hold every frame until the next.

    Args:
        clips: Clips, shape (B, C, T, H, W).
        skip: Output frames per input frame.

    Returns:
        Clips, shape (B, C, (T - 1) * skip + 1, H, W); frame `skip` * n is input frame n.
    """
    held = clips[:, :, :-1].repeat_interleave(skip, dim=2)
    return torch.cat([held, clips[:, :, -1:]], dim=2)


INTERPOLATIONS: dict[str, Callable[[Tensor, int], Tensor]] = {"linear": linear, "repeat": repeat}

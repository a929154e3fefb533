"""Frames between frames without a network: what interpolation has to beat."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["BETWEEN", "linear", "repeat"]


def linear(clips: Tensor, skip: int) -> Tensor:
    """Blends neighbours: (B, C, T, H, W) → (B, C, (T - 1) · skip + 1, H, W), frame `skip` · n being frame n."""
    share = (torch.arange(skip, dtype=clips.dtype, device=clips.device) / skip)[:, None, None, None]
    here, there = clips[:, :, :-1].transpose(1, 2)[:, :, None], clips[:, :, 1:].transpose(1, 2)[:, :, None]
    between = torch.lerp(here, there, share).flatten(1, 2).transpose(1, 2)  # (B, T - 1, skip, C, H, W) before
    return torch.cat([between, clips[:, :, -1:]], dim=2)


def repeat(clips: Tensor, skip: int) -> Tensor:
    """Holds every frame until the next: (B, C, T, H, W) → (B, C, (T - 1) · skip + 1, H, W)."""
    held = clips[:, :, :-1].repeat_interleave(skip, dim=2)
    return torch.cat([held, clips[:, :, -1:]], dim=2)


BETWEEN: dict[str, Callable[[Tensor, int], Tensor]] = {"linear": linear, "repeat": repeat}

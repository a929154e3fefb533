"""Frames folded into the batch: how one network serves images and clips.

Inside the networks a clip (B, C, T, H, W) travels as B·T images (B·T, C, H, W) in channels-last memory, where folding
and unfolding are views. Spatial layers never learn of time; temporal layers are told T.
"""

from torch import Tensor

__all__ = ["fold_frames", "unfold_frames"]


def fold_frames(x: Tensor) -> Tensor:
    """Lays the frames of clips (B, C, T, H, W) side by side in the batch: (B·T, C, H, W), frames of a clip adjacent."""
    b, c, t, h, w = x.shape
    return x.transpose(1, 2).reshape(b * t, c, h, w)


def unfold_frames(x: Tensor, frames: int) -> Tensor:
    """Undoes `fold_frames`: (B·T, C, H, W) with T `frames` → (B, C, T, H, W)."""
    bt, c, h, w = x.shape
    return x.reshape(bt // frames, frames, c, h, w).transpose(1, 2)

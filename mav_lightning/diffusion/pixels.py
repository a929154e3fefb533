"""Between a network's numbers and a file's pixels, in one place."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["from_uint8", "to_uint8"]


def to_uint8(clips: Tensor) -> NDArray[np.uint8]:
    """Rounds clips (N, 3, T, H, W) in [-1, 1] to (N, T, H, W, 3) uint8, as round((x + 1) · 127.5), outside cut off."""
    return ((clips.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 4, 1).cpu().numpy()


def from_uint8(clips: NDArray[np.uint8]) -> Tensor:
    """Undoes `to_uint8`: (N, T, H, W, 3) uint8 → (N, 3, T, H, W) in [-1, 1]; the way back gives the same bytes."""
    return torch.from_numpy(np.ascontiguousarray(clips)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1

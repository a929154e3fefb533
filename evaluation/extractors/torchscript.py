"""TorchScript files that the user provides: loading, input layout and output check.

The files hold code as well as weights: load only those whose hash is known.
"""

from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from evaluation.clip_sources import Frames
from evaluation.resize import Resize, check_frames
from mav_lightning.common.errors import UserError

__all__ = ["clip_rows", "freeze", "load_torchscript", "network_input"]


def load_torchscript(path: Path) -> Any:
    """Load a network in evaluation mode on the CPU. It is typed `Any` because the file defines its arguments.

    Raises:
        UserError: If the file is missing or is not TorchScript.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; nothing is downloaded, so provide the file.")
    try:
        network = torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        raise UserError(
            f"{path}: not a TorchScript file ({str(error).splitlines()[0]}); give one that torch.jit.save wrote, not a "
            "state dict."
        ) from error
    return freeze(network)


def freeze(network: nn.Module) -> Any:
    """Turn off gradients of all weights and return the network."""
    for weight in network.parameters():  # per parameter, since `requires_grad_` of a script module raises
        weight.requires_grad_(False)
    return network


def network_input(frames: Frames, resize: Resize | None) -> Tensor:
    """Lay out frames (T, H, W, 3) as (3, T, h, w): float32 in [0, 255] if they were resized, uint8 otherwise."""
    if resize is not None:
        return rearrange(resize(frames), "t c h w -> c t h w").contiguous()
    check_frames(frames)
    return rearrange(torch.tensor(frames), "t h w c -> c t h w").contiguous()


def clip_rows(features: Tensor, name: str) -> Tensor:
    """Check that a network returned one row per clip, (N, d), and return it as float32.

    Args:
        features: Output of the network.
        name: Name of the network, for messages.

    Raises:
        UserError: If the output has another shape.
    """
    if not isinstance(features, Tensor) or features.ndim != 2:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UserError(f"{name} must return one row per clip, (N, d), got {found}; give another file.")
    return features.float()

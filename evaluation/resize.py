"""Named resizing rules, each equal to the code behind some published numbers up to float32 rounding.

Resizing changes Fréchet distances more than most models do (Parmar et al., 2022), so a protocol names its rules: steps
that turn stored frames into the frames that a published evaluation starts from, and the rule of each network's input.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mav_lightning.common.cropping import crop_to_square
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.schema import PositiveInt

__all__ = ["RESIZERS", "STEPS", "Resize", "ResizeStep", "check_frames", "resize_frames", "resizer"]

Resize = Callable[[NDArray[np.uint8]], Tensor]
"""Frames (T, H, W, 3) uint8 → (T, 3, h, w) float32 in [0, 255], not rounded to whole levels."""


def resizer(name: str, size: int) -> Resize:
    """Return a function that resizes to squares of `size` pixels and can be pickled for worker processes.

    Every rule except ``short-side-center-crop`` ignores the aspect ratio. Results stay in [0, 255] up to float32
    rounding: clean-fid clips the overshoot of its filter.

    - ``tf1-bilinear``: ``resize_bilinear`` of TensorFlow 1, as in the first FVD and FID: pixel i is read at i · scale,
      not at the center of the area it covers.
    - ``torch-bilinear``: `torch.nn.functional.interpolate` without antialiasing, as in TATS.
    - ``torch-bilinear-antialias``: the same with antialiasing, as `torchmetrics` computes FID.
    - ``clean-bicubic``: clean-fid's: Pillow's bicubic filter, channel by channel in float.
    - ``short-side-center-crop``: VideoGPT's and PVDM's: resizes the short side to `size`, then crops the center.

    References:
        On Aliased Resizing and Surprising Subtleties in GAN Evaluation (Parmar et al., 2022).
        https://arxiv.org/abs/2104.11222

    Args:
        name: A key of `RESIZERS`.
        size: Height and width of the result, in pixels.

    Raises:
        UserError: If the name is unknown or `size` is below 1; when the function is called, if frames are not uint8
            of shape (T, H, W, 3).
    """
    if name not in RESIZERS:
        raise UserError(
            f"unknown resizing rule `{name}`; known are {', '.join(RESIZERS)}.", suggestion=nearest(name, RESIZERS)
        )
    if size < 1:
        raise UserError(f"resizing `{name}`: size must be at least 1 pixel, got {size}; I3D takes 224, Inception 299.")
    return partial(_resized, name=name, size=size)


@dataclass(frozen=True)
class ResizeStep:
    """One step of a protocol's resizing; its result is rounded to whole levels.

    Attributes:
        rule: A key of `STEPS`: a rule of `resizer`, rounded to the nearest level; ``box``, which crops the largest
            centered square and averages areas; or ``tats`` and ``cd-fvd``, which scale the short side, the latter with
            antialiasing, crop the center and truncate to bytes as the code of these names does.
        size: Height and width of the result, in pixels.
    """

    rule: str
    size: PositiveInt

    def __post_init__(self) -> None:
        """Check the rule's name."""
        if self.rule not in STEPS:
            raise UserError(
                f"unknown resizing rule `{self.rule}`; known are {', '.join(STEPS)}.",
                argument="rule",
                suggestion=nearest(self.rule, STEPS),
            )


def resize_frames(frames: NDArray[np.uint8], steps: Sequence[ResizeStep]) -> NDArray[np.uint8]:
    """Apply the steps of a protocol in order.

    Args:
        frames: Frames, shape (T, H, W, 3).
        steps: The steps; empty leaves frames as stored.

    Returns:
        Frames, shape (T, h, w, 3), uint8.
    """
    for step in steps:
        frames = STEPS[step.rule](frames, step.size)
    return frames


def check_frames(frames: NDArray[np.uint8]) -> None:
    """Check that frames are uint8 of shape (T, H, W, 3).

    Raises:
        UserError: If the dtype or the shape is another.
    """
    if frames.dtype != np.uint8:
        convert = "x in [-1, 1] by numpy.round((x + 1) * 127.5).clip(0, 255).astype(numpy.uint8)"
        if frames.dtype.kind in "iu":
            convert = "integers from 0 to 255 by astype(numpy.uint8)"
        raise UserError(f"frames must be uint8 in 0..255, got {frames.dtype}; convert {convert}.")
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape[1:]:
        fix = "put the color channels last" if frames.ndim == 4 else "give each clip an array of its own, in color"
        raise UserError(f"frames must have shape (T, H, W, 3), got {frames.shape}; {fix}.")


def _resized(frames: NDArray[np.uint8], name: str, size: int) -> Tensor:
    check_frames(frames)
    return RESIZERS[name](frames, size)


def _tf1_bilinear(frames: NDArray[np.uint8], size: int) -> Tensor:
    x = _channels_first(frames)
    (top, bottom, down), (left, right, across) = (_tf1_neighbors(side, size) for side in x.shape[-2:])
    x = x[..., left] + (x[..., right] - x[..., left]) * across
    return x[..., top, :] + (x[..., bottom, :] - x[..., top, :]) * down[:, None]


def _tf1_neighbors(side: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return both source pixels of each of `size` pixels, and the weight of the second."""
    # TensorFlow computes positions in float32: from 320 to 224 pixels that changes values by up to 0.006 gray levels
    places = torch.arange(size, dtype=torch.float32) * (torch.tensor(side, dtype=torch.float32) / size)
    first = places.floor()
    return first.long(), (first.long() + 1).clamp(max=side - 1), places - first


def _torch_bilinear(frames: NDArray[np.uint8], size: int, antialias: bool) -> Tensor:
    x = _channels_first(frames)
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=antialias)


def _clean_bicubic(frames: NDArray[np.uint8], size: int) -> Tensor:
    # the calls of clean-fid's own resizer, which takes twice as long over small frames to put channels last and back
    x = np.moveaxis(frames, -1, 1).astype(np.float32)
    resized = np.empty((*x.shape[:2], size, size), np.float32)
    for index in np.ndindex(x.shape[:2]):
        resized[index] = Image.fromarray(x[index]).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.clip(resized, 0, 255, out=resized))


def _short_side_center_crop(
    frames: NDArray[np.uint8], size: int, scale_by: float = 1.0, antialias: bool = False
) -> Tensor:
    x = _channels_first(frames) / scale_by
    height, width = x.shape[-2:]
    scale = size / min(height, width)
    # rounded up as the recipe does, float error and all: 50 x 50 becomes 225 x 224, which then loses its last row
    target = (size, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), size)
    x = F.interpolate(x, target, mode="bilinear", align_corners=False, antialias=antialias)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    return x[..., top : top + size, left : left + size].contiguous()


def _channels_first(frames: NDArray[np.uint8]) -> Tensor:
    return torch.tensor(np.ascontiguousarray(frames)).movedim(-1, 1).float().contiguous()


def _tats(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    # to [-0.5, 0.5] and back in float32, as TATS does: the truncation makes every rounding error count
    x = _short_side_center_crop(frames, size, scale_by=255.0)
    return _channels_last(((x - 0.5) + 0.5) * 255)


def _cd_fvd(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return _channels_last(_short_side_center_crop(frames, size, scale_by=255.0, antialias=True) * 255)


def _box(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.stack([crop_to_square(frame, size) for frame in frames])


def _nearest_level(frames: NDArray[np.uint8], size: int, rule: str) -> NDArray[np.uint8]:
    return _channels_last(RESIZERS[rule](frames, size).clamp(0, 255).round())


def _channels_last(x: Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray(x.byte().movedim(1, -1).numpy())


RESIZERS: dict[str, Callable[[NDArray[np.uint8], int], Tensor]] = {
    "tf1-bilinear": _tf1_bilinear,
    "torch-bilinear": partial(_torch_bilinear, antialias=False),
    "torch-bilinear-antialias": partial(_torch_bilinear, antialias=True),
    "clean-bicubic": _clean_bicubic,
    "short-side-center-crop": _short_side_center_crop,
}

STEPS: dict[str, Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]] = {
    "box": _box,
    "tats": _tats,
    "cd-fvd": _cd_fvd,
    **{rule: partial(_nearest_level, rule=rule) for rule in RESIZERS},
}

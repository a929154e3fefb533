"""Frame masks: one grammar for training the interpolation network and for every use of it (§3.3).

The uses differ only in which frames of a window are known:

- interpolation: `every` n-th frame; with the largest skip the two ends, which morphs one image into another,
- looping: the two ends again, namely the last and the first frame of a clip,
- extrapolation: the `first` frames, or the `last` ones for what came before,
- image animation: the `first` frame only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import Fraction, PositiveInt
from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.denoiser import Denoiser
from mav_lightning.diffusion.frame_skip import check_skip

__all__ = ["MaskSampler", "MaskedDenoiser", "MaskedFrames", "every", "first", "last"]


def every(skip: int, frames: int) -> Tensor:
    """Mark frames 0, skip, 2 * skip, ... of T frames as known.

    Args:
        skip: Distance between known frames; a divisor of T - 1.
        frames: Number of frames T.

    Returns:
        Mask, shape (T,), bool.

    Raises:
        ValueError: If the last frame would be unknown.
    """
    check_skip(skip, frames)
    return torch.arange(frames) % skip == 0


def first(count: int, frames: int) -> Tensor:
    """Mark the first `count` of T frames as known: (T,), bool."""
    return torch.arange(frames) < count


def last(count: int, frames: int) -> Tensor:
    """Mark the last `count` of T frames as known: (T,), bool."""
    return torch.arange(frames) >= frames - count


@dataclass(frozen=True)
class MaskedFrames:
    """Clips of which some frames are known.

    Attributes:
        pixels: Clips, shape (B, 3, T, H, W). The content of unknown frames is ignored.
        mask: Shape (B, T), bool, True for known frames.
    """

    pixels: Tensor
    mask: Tensor

    def channels(self) -> Tensor:
        """Return the concatenated conditioning: known frames, others black, and the mask; (B, 4, T, H, W)."""
        mask = self._column().to(self.pixels.dtype)
        return torch.cat([self.pixels * mask, mask.expand_as(self.pixels[:, :1])], dim=1)

    def replace(self, x: Tensor) -> Tensor:
        """Return `x`, shape of `pixels`, with its known frames replaced by those of `pixels`."""
        return torch.where(self._column(), self.pixels, x)

    def _column(self) -> Tensor:
        return self.mask[:, None, :, None, None]


class MaskedDenoiser:
    """A denoiser that is conditioned on known frames and returns them unchanged at every noise level.

    Args:
        denoiser: Denoiser whose network has four further input channels.
        known: Clips with their known frames.
    """

    def __init__(self, denoiser: Denoiser, known: MaskedFrames) -> None:
        self.denoiser, self.known = denoiser, known

    def __call__(self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None) -> Denoised:
        """Estimate x0, with the arguments of `Denoiser`. Samplers return the known frames bit for bit."""
        denoised = self.denoiser(x, sigma, cond, fps, self.known.channels())
        return Denoised(self.known.replace(denoised.x0), denoised.variance_fraction)


class MaskSampler:
    """Sampler of training masks: each clip gets one of the uses, with a random frame skip or number of known frames.

    Args:
        skips: Frame skips for interpolation, each at least 2. None for all that fit the clip.
        interpolation: Fraction of clips to interpolate; half of the others are extrapolated forward, half backward.

    Raises:
        UserError: If a skip leaves no frame unknown, or `interpolation` is not a fraction.
    """

    def __init__(self, skips: Sequence[PositiveInt] | None = None, interpolation: Fraction = 0.5) -> None:
        if not 0 <= interpolation <= 1:
            raise UserError(f"must be between 0 and 1, got {interpolation:g}.", argument="interpolation")
        if skips is not None and min(skips, default=0) < 2:
            raise UserError(
                f"must be numbers from 2, since at 1 every frame is known; got {list(skips)}.", argument="skips"
            )
        self.skips, self.interpolation = skips, interpolation

    def __call__(self, count: int, frames: int, device: torch.device | str = "cpu") -> Tensor:
        """Draw masks from PyTorch's global generator; each leaves some frame unknown.

        Args:
            count: Number of masks B.
            frames: Number of frames T, at least 3.
            device: Device of the result.

        Returns:
            Masks, shape (B, T), bool.

        Raises:
            ValueError: If a skip does not fit T, or T is below 3.
        """
        if frames < 3:
            raise ValueError(f"frames: must be at least 3, so that some frame is between the ends; got {frames}.")
        skips = range(2, frames) if self.skips is None else self.skips
        grids = [every(skip, frames) for skip in skips if self.skips is not None or (frames - 1) % skip == 0]
        use, which = torch.rand(count).tolist(), torch.rand(count).tolist()
        rest = (1 - self.interpolation) / 2
        masks = []
        for chosen, u in zip(use, which, strict=True):
            known = 1 + int(u * (frames - 1))
            if chosen < self.interpolation:
                masks.append(grids[int(u * len(grids))])
            else:
                masks.append((first if chosen < self.interpolation + rest else last)(known, frames))
        return torch.stack(masks).to(device)

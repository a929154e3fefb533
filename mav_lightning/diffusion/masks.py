"""Known frames: one grammar of masks for training the interpolation network and for every use of it (§3.3).

Which frames of a window are known is all that tells the uses apart:

- interpolation: `every` skip-th frame; with the largest skip, the two ends: morphing one image into another,
- closing a loop: the two ends again, being the last and the first frame of a clip,
- extrapolation: the `first` frames, or the `last` ones for what went before,
- animation of an image: the `first` frame alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mav_lightning.diffusion.denoised import Estimate
from mav_lightning.diffusion.denoiser import Denoiser

__all__ = ["Filling", "Known", "MaskSampler", "every", "first", "last"]


def every(skip: int, frames: int) -> Tensor:
    """Marks frames 0, skip, 2·skip, … of T `frames`: (T,), bool.

    Raises:
        ValueError: The last frame would be unknown, so `frames` - 1 is no multiple of `skip`.
    """
    if skip < 1 or (frames - 1) % skip:
        legal = [n for n in range(1, frames) if (frames - 1) % n == 0]
        raise ValueError(
            f"a frame skip of {skip} does not fit {frames} frames, as the last one has to be known; "
            f"legal are {', '.join(map(str, legal))}."
        )
    return torch.arange(frames) % skip == 0


def first(count: int, frames: int) -> Tensor:
    """Marks the first `count` of T `frames`: (T,), bool."""
    return torch.arange(frames) < count


def last(count: int, frames: int) -> Tensor:
    """Marks the last `count` of T `frames`: (T,), bool."""
    return torch.arange(frames) >= frames - count


@dataclass(frozen=True)
class Known:
    """Clips some frames of which are known.

    Attributes:
        pixels: Shape (B, 3, T, H, W); what stands in the unknown frames does not matter.
        mask: Shape (B, T), bool, True where a frame is known.
    """

    pixels: Tensor
    mask: Tensor

    def channels(self) -> Tensor:
        """What the network sees beside the noisy clip: unknown frames blacked out, then the mask, (B, 4, T, H, W)."""
        mask = self._column().to(self.pixels.dtype)
        return torch.cat([self.pixels * mask, mask.expand_as(self.pixels[:, :1])], dim=1)

    def keep(self, x: Tensor) -> Tensor:
        """Puts the known frames into `x`, shape of `pixels`."""
        return torch.where(self._column(), self.pixels, x)

    def _column(self) -> Tensor:
        return self.mask[:, None, :, None, None]


class Filling:
    """A denoiser that knows some frames, and gives exactly them back, at every noise level.

    Args:
        denoiser: Of a network with four further input channels.
        known: What is known.
    """

    def __init__(self, denoiser: Denoiser, known: Known) -> None:
        self.denoiser, self.known = denoiser, known

    def __call__(self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None) -> Estimate:
        """As `Denoiser`; a sampler that ends on the estimate leaves the known frames as they are, bit for bit."""
        found = self.denoiser(x, sigma, cond, fps, self.known.channels())
        return Estimate(self.known.keep(found.clean), found.share)


class MaskSampler:
    """Draws masks for training: each clip is one of the uses, and its frame skip or number of known frames varies.

    Args:
        skips: Frame skips to interpolate at, 2 or more; None takes all that fit.
        interpolation: Share of clips to interpolate; half of the others continue forwards, half backwards.

    Raises:
        ValueError: A skip that leaves nothing unknown, or a share that is none.
    """

    def __init__(self, skips: Sequence[int] | None = None, interpolation: float = 0.5) -> None:
        if not 0 <= interpolation <= 1:
            raise ValueError(f"interpolation: is a share between 0 and 1, got {interpolation:g}.")
        if skips is not None and min(skips, default=0) < 2:
            raise ValueError(f"skips: need one or several, each 2 or more, got {list(skips)}; at 1 all is known.")
        self.skips, self.interpolation = skips, interpolation

    def __call__(self, count: int, frames: int, device: torch.device | str = "cpu") -> Tensor:
        """Draws `count` masks from the global generator, (count, T), bool; in each some frame is unknown.

        Raises:
            ValueError: A skip that does not fit T `frames`, or fewer than the 3 that have one between them.
        """
        if frames < 3:
            raise ValueError(f"frames: nothing lies between the ends of {frames}; use 3 or more.")
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

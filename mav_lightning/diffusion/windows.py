"""Windows: how networks that process a fixed number of frames cover longer clips."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.denoiser import Denoiser
from mav_lightning.diffusion.frame_skip import check_skip
from mav_lightning.diffusion.masks import MaskedFrames, every

__all__ = ["SlidingDenoiser", "Windows"]


@dataclass(frozen=True)
class Windows:
    """Windows of interpolation (§3.3): T frames with every `skip`-th known; neighbors share their boundary frame.

    16 frames at skip 5 become 5 windows of 16 frames with 4 known frames each, and these (16 - 1) * 5 + 1 = 76 frames.

    Attributes:
        frames: Frames T of a window, one more than a multiple of `skip`.
        skip: Distance between known frames; the factor by which the frame rate increases.

    Raises:
        ValueError: If the skip does not fit the window.
    """

    frames: int
    skip: int

    def __post_init__(self) -> None:
        check_skip(self.skip, self.frames)

    @property
    def steps(self) -> int:
        """Number of intervals between known frames in a window."""
        return (self.frames - 1) // self.skip

    def count(self, known: int) -> int:
        """Return the number of windows that cover `known` known frames.

        Raises:
            ValueError: If a whole number of windows does not cover them.
        """
        if known < 2 or (known - 1) % self.steps:
            raise ValueError(
                f"{known} frames cannot be interpolated at frame skip {self.skip} in windows of {self.frames}: the "
                f"number must be one more than a multiple of {self.steps}; cut the clip, or choose another skip."
            )
        return (known - 1) // self.steps

    def split(self, clips: Tensor) -> MaskedFrames:
        """Distribute the frames of clips over windows.

        Args:
            clips: Clips, shape (B, C, N, H, W).

        Returns:
            B·W clips of T frames, the windows of a clip adjacent.
        """
        b, c, known, h, w = clips.shape
        count = self.count(known)
        pixels = clips.new_zeros(b, count, c, self.frames, h, w)
        for i in range(count):
            pixels[:, i, :, :: self.skip] = clips[:, :, i * self.steps : (i + 1) * self.steps + 1]
        mask = every(self.skip, self.frames).to(clips.device).expand(b * count, -1)
        return MaskedFrames(pixels.flatten(0, 1), mask)

    def join(self, windows: Tensor, clips: int) -> Tensor:
        """Concatenate the windows of B clips: (B·W, C, T, H, W) → (B, C, W * (T - 1) + 1, H, W)."""
        start = rearrange(windows, "(b n) c t h w -> b n c t h w", b=clips)[:, 0, :, :1]
        rest = rearrange(windows[:, :, 1:], "(b n) c t h w -> b c (n t) h w", b=clips)
        return torch.cat([start, rest], dim=2)


class SlidingDenoiser:
    """Denoiser of clips of any length that averages a denoiser's estimates over overlapping windows.

    At every noise level the x0 estimates of overlapping windows are averaged, with weights that decrease from the
    center of a window, so that neighbors agree. Memory is that of one window.

    References:
        MultiDiffusion (Bar-Tal et al., 2023), Equation 5, along time. https://arxiv.org/abs/2302.08113

    Args:
        denoiser: Denoiser of clips of `frames` frames.
        frames: Frames of a window.
        overlap: Minimum number of frames that neighboring windows share, from 0 to frames - 1.

    Raises:
        UserError: If `overlap` is out of range.
    """

    def __init__(self, denoiser: Denoiser, frames: int, overlap: int) -> None:
        if not 0 <= overlap < frames:
            raise UserError(f"must be from 0 to {frames - 1}, got {overlap}.", argument="overlap")
        self.denoiser, self.frames, self.overlap = denoiser, frames, overlap

    def __call__(
        self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None, concat_cond: Tensor | None = None
    ) -> Denoised:
        """Estimate x0 of clips (B, C, N, H, W), with the arguments of `Denoiser`."""
        if x.shape[2] <= self.frames:
            return self.denoiser(x, sigma, cond, fps, concat_cond)
        position = torch.arange(self.frames, device=x.device)
        tent = torch.minimum(position + 1, self.frames - position).to(x.dtype)[:, None, None]
        x0, weight = torch.zeros_like(x), x.new_zeros(x.shape[2], 1, 1)
        fraction: Tensor | None = None
        for start in self._starts(x.shape[2]):
            window = slice(start, start + self.frames)
            inputs = None if concat_cond is None else concat_cond[:, :, window]
            denoised = self.denoiser(x[:, :, window], sigma, cond, fps, inputs)
            x0[:, :, window] += tent * denoised.x0
            if denoised.variance_fraction is not None:
                fraction = torch.zeros_like(x) if fraction is None else fraction
                fraction[:, :, window] += tent * denoised.variance_fraction
            weight[window] += tent
        return Denoised(x0 / weight, None if fraction is None else fraction / weight)

    def _starts(self, length: int) -> list[int]:
        """Return the first frame of each window; the last window ends with the clip."""
        end = length - self.frames
        return [*range(0, end, self.frames - self.overlap), end]

"""How networks that see a window of frames cover a longer clip."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mav_lightning.diffusion.denoised import Estimate
from mav_lightning.diffusion.denoiser import Denoiser
from mav_lightning.diffusion.masks import Known, every

__all__ = ["Sliding", "Windows"]


@dataclass(frozen=True)
class Windows:
    """Interpolation (§3.3): windows of T frames with every `skip`-th known, which share their boundary frames.

    16 frames at skip 5 become 5 windows of 16 frames with 4 known each, and these (16 - 1) · 5 + 1 = 76 frames.

    Attributes:
        frames: Frames T of a window, one more than a multiple of `skip`.
        skip: From one known frame to the next; N times as many frames per second.

    Raises:
        ValueError: The skip does not fit the window.
    """

    frames: int
    skip: int

    def __post_init__(self) -> None:
        every(self.skip, self.frames)  # says what is legal

    @property
    def steps(self) -> int:
        """Steps from known frame to known frame in a window."""
        return (self.frames - 1) // self.skip

    def count(self, keys: int) -> int:
        """Windows over `keys` known frames.

        Raises:
            ValueError: The windows do not come out even.
        """
        if keys < 2 or (keys - 1) % self.steps:
            raise ValueError(
                f"{keys} frames cannot be interpolated at frame skip {self.skip} in windows of {self.frames}: they "
                f"must be one more than a multiple of {self.steps}; cut the clip, or choose another skip."
            )
        return (keys - 1) // self.steps

    def split(self, clips: Tensor) -> Known:
        """Spreads clips (B, C, N, H, W) over their windows: `Known` of B·W clips of T frames, a clip's adjacent."""
        b, c, keys, h, w = clips.shape
        count = self.count(keys)
        pixels = clips.new_zeros(b, count, c, self.frames, h, w)
        for i in range(count):
            pixels[:, i, :, :: self.skip] = clips[:, :, i * self.steps : (i + 1) * self.steps + 1]
        mask = every(self.skip, self.frames).to(clips.device).expand(b * count, -1)
        return Known(pixels.flatten(0, 1), mask)

    def join(self, windows: Tensor, clips: int) -> Tensor:
        """Strings the windows (B·W, C, T, H, W) of `clips` B clips together: (B, C, W · (T - 1) + 1, H, W)."""
        of_clip = windows.unflatten(0, (clips, -1)).transpose(1, 2)  # (B, C, W, T, H, W)
        opening, rest = of_clip[:, :, 0, :1], of_clip[:, :, :, 1:].flatten(2, 3)
        return torch.cat([opening, rest], dim=2)


class Sliding:
    """Super-resolution: a denoiser of windows as one of clips of any length, without seams.

    At every noise level the overlapping windows' estimates are averaged, nearer to a window's middle with more weight,
    so that neighbours agree before they drift apart. Memory is that of one window.

    References:
        MultiDiffusion (Bar-Tal et al., 2023), Equation 5, along time. https://arxiv.org/abs/2302.08113

    Args:
        denoiser: Of clips of `frames` frames.
        frames: Frames of a window.
        overlap: Frames that neighbouring windows share at least, from 0 to frames - 1.
    """

    def __init__(self, denoiser: Denoiser, frames: int, overlap: int) -> None:
        if not 0 <= overlap < frames:
            raise ValueError(f"Sliding: `overlap` must be from 0 to {frames - 1}, got {overlap}.")
        self.denoiser, self.frames, self.overlap = denoiser, frames, overlap

    def __call__(
        self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None, given: Tensor | None = None
    ) -> Estimate:
        """As `Denoiser`, for clips (B, C, N, H, W)."""
        if x.shape[2] <= self.frames:
            return self.denoiser(x, sigma, cond, fps, given)
        place = torch.arange(self.frames, device=x.device)
        tent = torch.minimum(place + 1, self.frames - place).to(x.dtype)[:, None, None]
        clean, weight = torch.zeros_like(x), x.new_zeros(x.shape[2], 1, 1)
        share: Tensor | None = None
        for start in self._starts(x.shape[2]):
            own = slice(start, start + self.frames)
            seen = None if given is None else given[:, :, own]
            found = self.denoiser(x[:, :, own], sigma, cond, fps, seen)
            clean[:, :, own] += tent * found.clean
            if found.share is not None:
                share = torch.zeros_like(x) if share is None else share
                share[:, :, own] += tent * found.share
            weight[own] += tent
        return Estimate(clean / weight, None if share is None else share / weight)

    def _starts(self, length: int) -> list[int]:
        """First frames of the windows; the last window ends with the clip."""
        last = length - self.frames
        return [*range(0, last, self.frames - self.overlap), last]

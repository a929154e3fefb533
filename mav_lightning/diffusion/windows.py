"""How the interpolation network covers a clip: windows that share their boundary frames (§3.3)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mav_lightning.diffusion.known import Known, every

__all__ = ["Windows"]


@dataclass(frozen=True)
class Windows:
    """Windows of T frames with every `skip`-th known; each begins with the frame the one before ends with.

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

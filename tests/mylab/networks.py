"""A network of one's own: a stack of frame-wise convolutions with a mean over time."""

import torch
from torch import Tensor, nn

from mav_lightning.nn.base import SpaceTimeNetwork, TemporalLayer

__all__ = ["FlatNet"]


class MeanOverTime(TemporalLayer):
    """Adds a learned multiple of the mean over time; zero at first."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))

    def reset_to_identity(self) -> None:
        """Set the gain to zero."""
        nn.init.zeros_(self.gain)

    def temporal_activity(self) -> float:
        """Return the size of the gain."""
        return float(self.gain.detach().abs())

    def forward(self, x: Tensor) -> Tensor:
        """Map clips (B, C, T, H, W) to clips."""
        return x + self.gain * x.mean(dim=2, keepdim=True)


class FlatNet(SpaceTimeNetwork):
    """Two convolutions at one resolution, with the mean over time between them.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        channels: Hidden channels.
        cond_channels: Length of the image embedding.
        temporal: Enable the mean over time.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: int = 8,
        cond_channels: int = 64,
        temporal: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.cond_channels = in_channels, out_channels, cond_channels
        self.downsampling = 1
        self.conv_in = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.embed = nn.Linear(1 + cond_channels, channels)
        self.mix = MeanOverTime() if temporal else None

    @property
    def input_weight(self) -> nn.Parameter:
        """Kernel of the first convolution."""
        return self.conv_in.weight

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Map images or clips to the same shape."""
        emb = self.embed(torch.cat([noise[:, None], cond], dim=1))
        frames = x.shape[2] if x.ndim == 5 else None
        flat = x if frames is None else x.transpose(1, 2).flatten(0, 1)
        emb = emb if frames is None else emb.repeat_interleave(frames, dim=0)
        h = torch.nn.functional.silu(self.conv_in(flat) + emb[:, :, None, None])
        if frames is not None and self.mix is not None:
            h = self.mix(h.unflatten(0, (-1, frames)).transpose(1, 2)).transpose(1, 2).flatten(0, 1)
        y = self.conv_out(h)
        return y if frames is None else y.unflatten(0, (-1, frames)).transpose(1, 2)

"""Convolutions along time, of the frames of clips folded into the batch: (B·T, C, H, W)."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mav_lightning.nn.initialization import zero_init

__all__ = ["AddedConv1d", "FrameConv1d", "NeighborConv3d"]


def _past_and_future(kernel_size: int, causal: bool) -> tuple[int, int]:
    """Return how many frames before and after its own a temporal kernel reads; none after it if it is causal."""
    past = kernel_size - 1 if causal else kernel_size // 2
    return past, kernel_size - 1 - past


class FrameConv1d(nn.Conv2d):
    """A 1D convolution over the frames of every pixel, in series with a spatial convolution; starts as the identity.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Kernel size in frames, odd.
        causal: If True, a frame depends on no later one.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, causal: bool = False) -> None:
        # Computed as a Conv2d over (T, H·W): in channels-last memory the rearrangement is a view, up to four times
        # faster on a CPU than the equal Conv3d of kernel (k, 1, 1).
        self.past, self.future = _past_and_future(kernel_size, causal)
        super().__init__(in_channels, out_channels, (kernel_size, 1), padding=(self.future, 0))

    def forward(self, x: Tensor, frames: int) -> Tensor:  # type: ignore[override]  # of nn.Conv2d
        """Convolve T frames per clip, shape (B·T, C, H, W)."""
        # Not einops: the strides of its views do not look channels-last for a single clip, and the two rearrangements
        # with the convolution took 1.8 to 3.9 times as long (1.1 times for more clips; one CPU thread).
        n, d, h, w = x.shape
        out = x.permute(0, 2, 3, 1).reshape(n // frames, frames, h * w, d).permute(0, 3, 1, 2)
        if self.past > self.future:
            out = F.pad(out, (0, 0, self.past - self.future, 0))
        return super().forward(out).permute(0, 2, 3, 1).reshape(n, h, w, -1).permute(0, 3, 1, 2)

    @torch.no_grad()
    def reset_to_identity(self) -> None:
        """Set the kernel to the identity."""
        zero_init(self)
        self.weight.copy_(self._identity())

    @torch.no_grad()
    def activity(self, spatial: Tensor) -> float:
        """Return the distance of the kernel from the identity, divided by the norm of the identity."""
        identity = self._identity()
        return float((self.weight - identity).norm() / identity.norm())

    def _identity(self) -> Tensor:
        kernel = torch.zeros_like(self.weight)
        kernel[:, :, self.past, 0] = torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
        return kernel


class AddedConv1d(FrameConv1d):
    """A 1D convolution over the frames of every pixel, in parallel with a spatial convolution; starts at zero.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Kernel size in frames, odd.
        stride: Spatial stride.
        causal: If True, a frame depends on no later one.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, causal: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, causal)
        self.spatial_stride = stride

    def forward(self, x: Tensor, frames: int) -> Tensor:  # type: ignore[override]  # of nn.Conv2d
        """Convolve T frames per clip, at every `stride`-th row and column."""
        return super().forward(x[:, :, :: self.spatial_stride, :: self.spatial_stride], frames)

    def reset_to_identity(self) -> None:
        """Set the kernel to zero."""
        zero_init(self)

    def activity(self, spatial: Tensor) -> float:
        """Return the norm of the kernel, divided by that of both kernels."""
        return _fraction(self.weight, spatial)


class NeighborConv3d(nn.Conv2d):
    """A 3D convolution without the slice of a frame itself, which a spatial convolution in parallel provides.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Spatial kernel size, odd.
        temporal_kernel_size: Temporal kernel size in frames, odd.
        stride: Spatial stride.
        causal: If True, a frame depends on no later one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        temporal_kernel_size: int,
        stride: int = 1,
        causal: bool = False,
    ) -> None:
        # Computed as a Conv2d over the channels of the neighboring frames.
        self.past, self.future = _past_and_future(temporal_kernel_size, causal)
        channels = (temporal_kernel_size - 1) * in_channels
        super().__init__(channels, out_channels, kernel_size, stride, padding=kernel_size // 2)

    def forward(self, x: Tensor, frames: int) -> Tensor:  # type: ignore[override]  # of nn.Conv2d
        """Convolve the neighbors of T frames per clip, (B·T, C, H, W); frames beyond the ends are zero."""
        clips = rearrange(x, "(b t) c h w -> b t c h w", t=frames)
        padded = F.pad(clips, (0, 0, 0, 0, 0, 0, self.past, self.future))
        starts = [start for start in range(self.past + 1 + self.future) if start != self.past]
        return super().forward(torch.cat([padded[:, start : start + frames] for start in starts], dim=2).flatten(0, 1))

    def reset_to_identity(self) -> None:
        """Set the kernel to zero."""
        zero_init(self)

    def activity(self, spatial: Tensor) -> float:
        """Return the norm of the kernel, divided by that of the whole 3D kernel."""
        return _fraction(self.weight, spatial)


@torch.no_grad()
def _fraction(temporal: Tensor, spatial: Tensor) -> float:
    norm = temporal.norm()
    return float(norm / torch.hypot(norm, spatial.norm()).clamp_min(1e-12))

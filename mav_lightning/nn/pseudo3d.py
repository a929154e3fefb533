"""The two pseudo-3D layers of Make-A-Video: convolution (§3.2.1) and attention (§3.2.2)."""

from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeInt, PositiveInt
from mav_lightning.nn.attention import MultiHeadAttention
from mav_lightning.nn.base import TemporalLayer
from mav_lightning.nn.initialization import zero_init
from mav_lightning.nn.temporal_convolution import AddedConv1d, FrameConv1d, NeighborConv3d
from mav_lightning.nn.temporal_settings import TemporalSettings
from mav_lightning.nn.time_position import POSITIONS

__all__ = ["PseudoAttention3d", "PseudoConv3d"]

_DEFAULT = TemporalSettings()


class PseudoConv3d(TemporalLayer):
    r"""A 2D convolution of every frame followed by a 1D convolution along time.

    :math:`\mathrm{Conv}_{P3D}(h) = \mathrm{Conv1D}(\mathrm{Conv2D}(h) \circ T) \circ T`. The temporal kernel starts as
    the identity, so before training a clip gives exactly the image model's output for each frame.

    For comparison, the 1D convolution can come before the 2D one, or be added to it and start at zero. The convolution
    can also be a full 3D one, whose slice of the frame itself is the 2D kernel and whose other slices start at zero.

    References:
        Make-A-Video (Singer et al., 2022), §3.2.1. https://arxiv.org/abs/2209.14792
        Pseudo-3D residual networks (Qiu et al., 2017), §3.2: serial and parallel. https://arxiv.org/abs/1711.10305

    Args:
        in_channels: Number of input channels C.
        out_channels: Number of output channels D.
        kernel_size: Spatial kernel size, odd.
        stride: Spatial stride.
        temporal: Settings of the temporal convolution.

    Raises:
        UserError: If a kernel size is even.
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        kernel_size: PositiveInt = 3,
        stride: PositiveInt = 1,
        temporal: TemporalSettings = _DEFAULT,
    ) -> None:
        super().__init__()
        for name, size in (("kernel_size", kernel_size), ("temporal_kernel_size", temporal.kernel_size or 1)):
            if size % 2 == 0:
                raise UserError(f"must be odd, so that the shape is kept, got {size}.", argument=name)
        self.spatial = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)
        self.placement = temporal.placement if temporal.factorized else "parallel"
        self.temporal: FrameConv1d | NeighborConv3d | None = None
        frames, causal = temporal.kernel_size, temporal.causal
        if temporal.convolution and not temporal.factorized:
            self.temporal = NeighborConv3d(in_channels, out_channels, kernel_size, frames, stride, causal)
        elif temporal.convolution and self.placement == "parallel":
            self.temporal = AddedConv1d(in_channels, out_channels, frames, stride, causal)
        elif temporal.convolution:
            channels = in_channels if self.placement == "before" else out_channels
            self.temporal = FrameConv1d(channels, channels, frames, causal)
        if temporal.identity_init:
            self.reset_to_identity()

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield the temporal convolution, if there is one."""
        if self.temporal is not None:
            yield self.temporal

    @torch.no_grad()
    def reset_to_identity(self) -> None:
        """Set the temporal kernel to the identity; to zero where it is added to the spatial convolution."""
        if self.temporal is not None:
            self.temporal.reset_to_identity()

    def temporal_activity(self) -> float:
        """Return the distance of the temporal kernel from the identity, divided by the norm of the identity.

        If it is added to the spatial convolution, return its norm divided by that of both kernels.
        """
        return 0.0 if self.temporal is None else self.temporal.activity(self.spatial.weight)

    def forward(self, x: Tensor, frames: int | None = None) -> Tensor:
        """Convolve images or clips.

        Args:
            x: Images, shape (B, C, H, W), or the frames of clips folded into the batch, (B·T, C, H, W).
            frames: Number of frames T per clip. None for images, which skip time.

        Returns:
            Features, shape (B, D, H', W') or (B·T, D, H', W').
        """
        out: Tensor
        if frames is None or self.temporal is None:
            out = self.spatial(x)
        elif self.placement == "after":
            out = self.temporal(self.spatial(x), frames)
        elif self.placement == "before":
            out = self.spatial(self.temporal(x, frames))
        else:
            out = self.spatial(x) + self.temporal(x, frames)
        return out


class PseudoAttention3d(TemporalLayer):
    r"""Attention over the pixels of each frame, then over the frames at each pixel; both residual.

    :math:`\mathrm{ATTN}_{P3D}(h) = \mathrm{unflatten}(\mathrm{ATTN1D}(\mathrm{ATTN2D}(\mathrm{flatten}(h)) \circ T)
    \circ T)`. Here, T swaps frames and pixels. The temporal output projection starts at zero, so an untrained
    layer processes every frame by itself. The positions of frames enter temporal attention only.

    References:
        Make-A-Video (Singer et al., 2022), §3.2.2 and Figure 3.

    Args:
        channels: Number of channels C, a multiple of `head_channels`.
        head_channels: Channels of each attention head.
        context_channels: Channels of the context tokens that spatial attention also attends to. 0 disables context.
        time_channels: Length of the time embedding.
        spatial: Enable spatial self-attention.
        temporal: Settings of temporal self-attention. None for no temporal attention.

    Raises:
        UserError: If `channels` is not a multiple of `head_channels`.
    """

    def __init__(
        self,
        channels: PositiveInt,
        head_channels: PositiveInt = 32,
        context_channels: NonNegativeInt = 0,
        time_channels: PositiveInt = 64,
        spatial: bool = True,
        temporal: TemporalSettings | None = _DEFAULT,
    ) -> None:
        super().__init__()
        if channels % head_channels:
            raise UserError(
                f"must divide the number of channels, {channels}, got {head_channels}.", argument="head_channels"
            )
        self.settings = temporal or _DEFAULT
        self.spatial = MultiHeadAttention(channels, head_channels, context_channels) if spatial else None
        self.temporal = None if temporal is None else MultiHeadAttention(channels, head_channels)
        position = POSITIONS[self.settings.position]
        self.time_proj = None if temporal is None else position(time_channels, channels, head_channels)
        if self.settings.identity_init:
            self.reset_to_identity()

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield temporal attention and what it derives from the time embedding, if enabled."""
        if self.temporal is not None and self.time_proj is not None:
            yield from (self.temporal, self.time_proj)

    @torch.no_grad()
    def reset_to_identity(self) -> None:
        """Set the output projection of temporal attention to zero."""
        if self.temporal is not None:
            zero_init(self.temporal.out_proj)

    @torch.no_grad()
    def temporal_activity(self) -> float:
        """Return the norm of temporal attention's output projection, divided by the norm of the identity."""
        if self.temporal is None:
            return 0.0
        weight: Tensor = self.temporal.out_proj.weight
        activity: float = weight.norm().item() / len(weight) ** 0.5
        return activity

    def forward(self, x: Tensor, context: Tensor | None = None, time: Tensor | None = None) -> Tensor:
        """Attend over pixels, then over frames.

        Args:
            x: Images, shape (B, C, H, W), or the frames of clips folded into the batch, (B·T, C, H, W).
            context: Context tokens of each image or frame, shape (B or B·T, N, D). None without context.
            time: Time embedding of each frame, shape (B, T, E). None for images, which skip time.

        Returns:
            Features of the shape of `x`.
        """
        x = rearrange(x, "n c h w -> n h w c")
        if self.temporal is None or time is None:
            x = self._attend_pixels(x, context)
        elif self.settings.placement == "before":
            x = self._attend_pixels(self._attend_frames(x, x, time), context)
        else:
            base = self._attend_pixels(x, context)
            x = self._attend_frames(x if self.settings.placement == "parallel" else base, base, time)
        out: Tensor = rearrange(x, "n h w c -> n c h w")
        return out

    def _attend_pixels(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Add spatial attention to features (N, H, W, C)."""
        if self.spatial is None:
            return x
        tokens: Tensor = rearrange(x, "n h w c -> n (h w) c")
        tokens = tokens + self.spatial(tokens, context=context)
        out: Tensor = rearrange(tokens, "n (h w) c -> n h w c", h=x.shape[1])
        return out

    def _attend_frames(self, x: Tensor, base: Tensor, time: Tensor) -> Tensor:
        """Add the temporal attention of features (B·T, H, W, C) to `base`, of the same shape."""
        assert self.temporal is not None and self.time_proj is not None  # `forward` has checked
        frames, (height, width) = time.shape[1], x.shape[1:3]
        i, j = (_largest_divisor(size, self.settings.window) for size in (height, width))
        split = "(b t) (h i) (w j) c -> (b h w) (t i j) c"
        tokens = rearrange(x, split, t=frames, i=i, j=j)
        base = tokens if base is x else rearrange(base, split, t=frames, i=i, j=j)
        position = self.time_proj(time).expand(height // i * (width // j), i * j)
        allowed = None
        if self.settings.causal:
            frame = torch.arange(frames, device=x.device).repeat_interleave(i * j)
            allowed = frame[:, None] >= frame
        tokens = base + self.temporal(tokens, position=position, allowed=allowed)
        joined = "(b h w) (t i j) c -> (b t) (h i) (w j) c"
        out: Tensor = rearrange(tokens, joined, t=frames, i=i, j=j, h=height // i, w=width // j)
        return out


def _largest_divisor(size: int, limit: int) -> int:
    """Return the largest divisor of a size up to a limit: the side of windows that tile it."""
    return next(side for side in range(min(size, limit), 0, -1) if size % side == 0)

"""The two pseudo-3D layers of Make-A-Video: convolution (§3.2.1) and attention (§3.2.2)."""

import functools
from collections.abc import Iterator

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeInt, PositiveInt
from mav_lightning.nn.base import TemporalLayer
from mav_lightning.nn.initialization import zero_init

__all__ = ["PseudoAttention3d", "PseudoConv3d"]


class PseudoConv3d(TemporalLayer):
    r"""A 2D convolution of every frame followed by a 1D convolution along time.

    :math:`\mathrm{Conv}_{P3D}(h) = \mathrm{Conv1D}(\mathrm{Conv2D}(h) \circ T) \circ T`. The temporal kernel starts as
    the identity, so before training a clip gives exactly the image model's output for each frame.

    For comparison, the convolution can be a full 3D one, whose middle slice is the 2D kernel and whose other slices
    start at zero, and the temporal kernel can be initialized at random.

    References:
        Make-A-Video (Singer et al., 2022), §3.2.1. https://arxiv.org/abs/2209.14792

    Args:
        in_channels: Number of input channels C.
        out_channels: Number of output channels D.
        kernel_size: Spatial kernel size, odd.
        temporal_kernel_size: Temporal kernel size in frames, odd. 0 or 1 disables the temporal convolution.
        stride: Spatial stride.
        factorized: If False, use a full 3D convolution.
        identity_init: If False, initialize temporal kernels with PyTorch's default instead of the identity.

    Raises:
        UserError: If a kernel size is even.
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        kernel_size: PositiveInt = 3,
        temporal_kernel_size: NonNegativeInt = 3,
        stride: PositiveInt = 1,
        factorized: bool = True,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        for name, size in (("kernel_size", kernel_size), ("temporal_kernel_size", temporal_kernel_size or 1)):
            if size % 2 == 0:
                raise UserError(f"must be odd, so that the shape is kept, got {size}.", argument=name)
        conv = functools.partial(nn.Conv2d, kernel_size=kernel_size, stride=stride, padding=kernel_size // 2)
        self.spatial = conv(in_channels, out_channels)
        self.factorized, self.radius = factorized, temporal_kernel_size // 2
        self.temporal: nn.Conv2d | None = None
        if self.radius and factorized:
            # A Conv1d over the frames of every pixel, computed as a Conv2d over (T, H·W): in channels-last memory the
            # rearrangement is a view, up to four times faster on a CPU than the equal Conv3d of kernel (k, 1, 1).
            self.temporal = nn.Conv2d(out_channels, out_channels, (temporal_kernel_size, 1), padding=(self.radius, 0))
        elif self.radius:
            # All slices but the middle one, as a Conv2d over the channels of the neighboring frames.
            self.temporal = conv(2 * self.radius * in_channels, out_channels)
        if identity_init:
            self.reset_to_identity()

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield the temporal convolution, if there is one."""
        if self.temporal is not None:
            yield self.temporal

    @torch.no_grad()
    def reset_to_identity(self) -> None:
        """Set the temporal kernel to the identity (full 3D: the outer slices to zero)."""
        if self.temporal is not None:
            zero_init(self.temporal)
            if self.factorized:
                nn.init.dirac_(self.temporal.weight)

    @torch.no_grad()
    def temporal_activity(self) -> float:
        """Return the distance of the temporal kernel from the identity, divided by the norm of the identity.

        For a full 3D convolution, return the norm of the outer slices divided by that of the whole kernel.
        """
        if self.temporal is None:
            return 0.0
        if not self.factorized:
            outer = self.temporal.weight.norm()
            return float(outer / torch.hypot(outer, self.spatial.weight.norm()).clamp_min(1e-12))
        identity = nn.init.dirac_(torch.empty_like(self.temporal.weight))
        return float((self.temporal.weight - identity).norm() / identity.norm())

    def forward(self, x: Tensor, frames: int | None = None) -> Tensor:
        """Convolve images or clips.

        Args:
            x: Images, shape (B, C, H, W), or the frames of clips folded into the batch, (B·T, C, H, W).
            frames: Number of frames T per clip. None for images, which skip time.

        Returns:
            Features, shape (B, D, H', W') or (B·T, D, H', W').
        """
        out: Tensor = self.spatial(x)
        if frames is None or self.temporal is None:
            return out
        if not self.factorized:
            out = out + self.temporal(self._neighbors(x, frames))
            return out
        # Not einops: the strides of its views do not look channels-last for a single clip, and the two rearrangements
        # with the convolution took 1.8 to 3.9 times as long (1.1 times for more clips; one CPU thread).
        n, d, h, w = out.shape
        out = out.permute(0, 2, 3, 1).reshape(n // frames, frames, h * w, d).permute(0, 3, 1, 2)
        out = self.temporal(out).permute(0, 2, 3, 1).reshape(n, h, w, d).permute(0, 3, 1, 2)
        return out

    def _neighbors(self, x: Tensor, frames: int) -> Tensor:
        """Stack each frame's neighbors as channels, zeros beyond the ends: (B·T, C, H, W) → (B·T, 2·radius·C, H, W)."""
        clips = rearrange(x, "(b t) c h w -> b t c h w", t=frames)
        padded = F.pad(clips, (0, 0, 0, 0, 0, 0, self.radius, self.radius))
        starts = [start for start in range(2 * self.radius + 1) if start != self.radius]
        return torch.cat([padded[:, start : start + frames] for start in starts], dim=2).flatten(0, 1)


class PseudoAttention3d(TemporalLayer):
    r"""Attention over the pixels of each frame, then over the frames at each pixel; both residual.

    :math:`\mathrm{ATTN}_{P3D}(h) = \mathrm{unflatten}(\mathrm{ATTN1D}(\mathrm{ATTN2D}(\mathrm{flatten}(h)) \circ T)
    \circ T)`. Here, T swaps frames and pixels. The temporal output projection starts at zero, so an untrained
    layer processes every frame by itself. A time embedding, added to the temporal tokens only, tells frames apart.

    References:
        Make-A-Video (Singer et al., 2022), §3.2.2 and Figure 3.

    Args:
        channels: Number of channels C, a multiple of `head_channels`.
        head_channels: Channels of each attention head.
        context_channels: Channels of the context tokens that spatial attention also attends to. 0 disables context.
        time_channels: Length of the time embedding.
        spatial: Enable spatial self-attention.
        temporal: Enable temporal self-attention.
        identity_init: If False, initialize the temporal output projection with PyTorch's default instead of zero.

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
        temporal: bool = True,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        if channels % head_channels:
            raise UserError(
                f"must divide the number of channels, {channels}, got {head_channels}.", argument="head_channels"
            )
        self.spatial = _Attention(channels, head_channels, context_channels) if spatial else None
        self.temporal = _Attention(channels, head_channels) if temporal else None
        self.time_proj = nn.Linear(time_channels, channels) if temporal else None
        if identity_init:
            self.reset_to_identity()

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield temporal attention and the projection of the time embedding, if enabled."""
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
        height = x.shape[2]
        tokens = rearrange(x, "n c h w -> n (h w) c")
        if self.spatial is not None:
            tokens = tokens + self.spatial(tokens, context=context)
        if self.temporal is not None and self.time_proj is not None and time is not None:
            pixels, frames = tokens.shape[1], time.shape[1]
            across = rearrange(tokens, "(b t) p c -> (b p) t c", t=frames)
            position = repeat(self.time_proj(time), "b t c -> (b p) t c", p=pixels)
            across = across + self.temporal(across, position=position)
            tokens = rearrange(across, "(b p) t c -> (b t) p c", p=pixels)
        return rearrange(tokens, "n (h w) c -> n c h w", h=height)


class _Attention(nn.Module):
    """Multi-head attention of normalized tokens (N, L, C) to themselves and to optional context (N, M, D)."""

    def __init__(self, channels: int, head_channels: int, context_channels: int = 0) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.context_kv = nn.Linear(context_channels, 2 * channels) if context_channels else None
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor | None = None, position: Tensor | None = None) -> Tensor:
        x = self.norm(x)
        if position is not None:
            x = x + position
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if context is not None and self.context_kv is not None:
            context_k, context_v = self.context_kv(context).chunk(2, dim=-1)
            k, v = torch.cat([k, context_k], dim=1), torch.cat([v, context_v], dim=1)
        q, k, v = (rearrange(y, "n l (heads c) -> n heads l c", c=self.head_channels) for y in (q, k, v))
        out = rearrange(F.scaled_dot_product_attention(q, k, v), "n heads l c -> n l (heads c)")
        projected: Tensor = self.out_proj(out)
        return projected

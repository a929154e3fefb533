"""The two pseudo-3D layers of Make-A-Video: convolution (§3.2.1) and attention (§3.2.2)."""

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["PseudoAttention3d", "PseudoConv3d"]


class PseudoConv3d(nn.Module):
    r"""Applies a 2D convolution to every frame, then a 1D convolution along time.

    :math:`\mathrm{Conv}_{P3D}(h) = \mathrm{Conv1D}(\mathrm{Conv2D}(h) \circ T) \circ T`. The temporal kernel starts as
    the identity, so at initialisation a clip gives exactly what the image model gives frame by frame.

    What the paper weighs this against is a choice here: the full 3D convolution, whose middle slice is the 2D one and
    whose other slices start at zero, and temporal layers that start at random.

    References:
        Make-A-Video (Singer et al., 2022), §3.2.1. https://arxiv.org/abs/2209.14792

    Args:
        in_channels: Number of input channels C.
        out_channels: Number of output channels D.
        kernel_size: Spatial kernel size, odd.
        temporal_kernel_size: Temporal kernel size in frames, odd; 0 or 1 leaves time alone.
        stride: Spatial stride.
        factorised: False for the full 3D convolution.
        identity_init: False for temporal kernels that start as PyTorch starts any.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        temporal_kernel_size: int = 3,
        stride: int = 1,
        factorised: bool = True,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"PseudoConv3d: `kernel_size` must be odd to keep the shape, got {kernel_size}.")
        if temporal_kernel_size and temporal_kernel_size % 2 == 0:
            raise ValueError(f"PseudoConv3d: `temporal_kernel_size` must be odd or 0, got {temporal_kernel_size}.")
        conv = functools.partial(nn.Conv2d, kernel_size=kernel_size, stride=stride, padding=kernel_size // 2)
        self.spatial = conv(in_channels, out_channels)
        self.factorised, self.reach = factorised, temporal_kernel_size // 2
        self.temporal: nn.Conv2d | None = None
        if not self.reach:
            return
        if factorised:
            # A Conv1d over every pixel's frames, computed as a Conv2d over (T, H·W): in channels-last memory that is a
            # view, and up to four times faster on a CPU than the Conv3d of kernel (k, 1, 1) it equals.
            self.temporal = nn.Conv2d(out_channels, out_channels, (temporal_kernel_size, 1), padding=(self.reach, 0))
        else:
            # The slices beside the middle one, as a Conv2d over the neighbouring frames' channels.
            self.temporal = conv(2 * self.reach * in_channels, out_channels)
        if identity_init:
            self.forget_time()

    @torch.no_grad()
    def forget_time(self) -> None:
        """Makes the temporal part do nothing, as it starts: a clip is then what its frames are one by one."""
        if self.temporal is not None:
            (nn.init.dirac_ if self.factorised else nn.init.zeros_)(self.temporal.weight)
            nn.init.zeros_(_bias(self.temporal))

    @torch.no_grad()
    def temporal_activity(self) -> float:
        """How far the temporal part is from doing nothing.

        Factorised, the temporal kernel's distance from the identity over the identity's norm; of a full 3D convolution,
        the norm of the slices beside the middle one over the whole kernel's. 0 without a temporal part.
        """
        if self.temporal is None:
            return 0.0
        if not self.factorised:
            beside = self.temporal.weight.norm()
            return float(beside / torch.hypot(beside, self.spatial.weight.norm()).clamp_min(1e-12))
        identity = nn.init.dirac_(torch.empty_like(self.temporal.weight))
        return float((self.temporal.weight - identity).norm() / identity.norm())

    def forward(self, x: Tensor, frames: int | None = None) -> Tensor:
        """Convolves.

        Args:
            x: Images, shape (B, C, H, W), or with `frames` the folded frames of clips, (B·T, C, H, W).
            frames: Frames T in each clip; None for images, which skip time.

        Returns:
            Features, shape (B, D, H', W') or (B·T, D, H', W').
        """
        if frames is None or self.temporal is None:
            return self.spatial(x)
        if not self.factorised:
            return self.spatial(x) + self.temporal(self._neighbours(x, frames))
        x = self.spatial(x)
        n, d, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(n // frames, frames, h * w, d).permute(0, 3, 1, 2)
        return self.temporal(x).permute(0, 2, 3, 1).reshape(n, h, w, d).permute(0, 3, 1, 2)

    def _neighbours(self, x: Tensor, frames: int) -> Tensor:
        """Every frame's neighbours as channels, zeros beyond the ends: (B·T, C, H, W) → (B·T, 2·reach·C, H, W)."""
        padded = F.pad(x.unflatten(0, (-1, frames)), (0, 0, 0, 0, 0, 0, self.reach, self.reach))
        starts = [start for start in range(2 * self.reach + 1) if start != self.reach]
        return torch.cat([padded[:, start : start + frames] for start in starts], dim=2).flatten(0, 1)


class PseudoAttention3d(nn.Module):
    r"""Attends over the pixels of each frame, then over the frames of each pixel; both residual.

    :math:`\mathrm{ATTN}_{P3D}(h) = \mathrm{unflatten}(\mathrm{ATTN1D}(\mathrm{ATTN2D}(\mathrm{flatten}(h)) \circ T)
    \circ T)`. The temporal output projection starts at zero, so at initialisation time is ignored. Frames are told
    apart by a time embedding, added to the temporal tokens only.

    References:
        Make-A-Video (Singer et al., 2022), §3.2.2 and Figure 3.

    Args:
        channels: Number of channels C, a multiple of `head_channels`.
        head_channels: Channels of a head.
        context_channels: Channels of the context tokens that spatial attention may also look at; 0 for none.
        time_channels: Channels of the time embedding.
        spatial: Whether pixels attend to pixels; False leaves temporal attention alone.
        temporal: Whether frames attend to frames.
        identity_init: False for a temporal output projection that starts as PyTorch starts any.
    """

    def __init__(
        self,
        channels: int,
        head_channels: int = 32,
        context_channels: int = 0,
        time_channels: int = 64,
        spatial: bool = True,
        temporal: bool = True,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        if channels % head_channels:
            raise ValueError(
                f"PseudoAttention3d: {channels} channels are no multiple of head_channels={head_channels}."
            )
        self.spatial = _Attention(channels, head_channels, context_channels) if spatial else None
        self.temporal = _Attention(channels, head_channels) if temporal else None
        if self.temporal is not None:
            self.temporal_position = nn.Linear(time_channels, channels)
            if identity_init:
                self.forget_time()

    @torch.no_grad()
    def forget_time(self) -> None:
        """Makes the temporal part do nothing, as it starts: a clip is then what its frames are one by one."""
        if self.temporal is not None:
            nn.init.zeros_(self.temporal.project.weight)
            nn.init.zeros_(_bias(self.temporal.project))

    @torch.no_grad()
    def temporal_activity(self) -> float:
        """How far the temporal part is from doing nothing.

        The norm of its output projection over that of the identity; 0 without a temporal part.
        """
        if self.temporal is None:
            return 0.0
        weight = self.temporal.project.weight
        return float(weight.norm()) / len(weight) ** 0.5

    def forward(self, x: Tensor, context: Tensor | None = None, time: Tensor | None = None) -> Tensor:
        """Attends.

        Args:
            x: Images, shape (B, C, H, W), or with `time` the folded frames of clips, (B·T, C, H, W).
            context: Context tokens of every image or frame, shape (B or B·T, N, D); None without context.
            time: Embedding of every frame's place in time, shape (B, T, E); None for images, which skip time.

        Returns:
            Features of the shape of `x`.
        """
        n, c, h, w = x.shape
        tokens = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
        if self.spatial is not None:
            tokens = tokens + self.spatial(tokens, context=context)
        if self.temporal is not None and time is not None:
            b, t = time.shape[:2]
            across = tokens.reshape(b, t, h * w, c).transpose(1, 2).reshape(b * h * w, t, c)
            position = self.temporal_position(time).repeat_interleave(h * w, dim=0)
            across = across + self.temporal(across, position=position)
            tokens = across.reshape(b, h * w, t, c).transpose(1, 2).reshape(n, h * w, c)
        return tokens.reshape(n, h, w, c).permute(0, 3, 1, 2)


class _Attention(nn.Module):
    """Multi-head attention of normalised tokens (N, L, C) to themselves and to optional context (N, M, D)."""

    def __init__(self, channels: int, head_channels: int, context_channels: int = 0) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.context = nn.Linear(context_channels, 2 * channels) if context_channels else None
        self.project = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor | None = None, position: Tensor | None = None) -> Tensor:
        n, length, c = x.shape
        x = self.norm(x)
        if position is not None:
            x = x + position
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if context is not None and self.context is not None:
            more_k, more_v = self.context(context).chunk(2, dim=-1)
            k, v = torch.cat([k, more_k], dim=1), torch.cat([v, more_v], dim=1)
        q, k, v = (y.reshape(n, y.shape[1], -1, self.head_channels).transpose(1, 2) for y in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v)
        return self.project(y.transpose(1, 2).reshape(n, length, c))


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    assert layer.bias is not None  # these layers are built with one
    return layer.bias

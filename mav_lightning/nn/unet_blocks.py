"""The blocks of the U-Net, and the settings that they share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mav_lightning.common.errors import UserError
from mav_lightning.nn.base import TemporalLayer
from mav_lightning.nn.initialization import zero_init
from mav_lightning.nn.pseudo3d import PseudoAttention3d, PseudoConv3d
from mav_lightning.nn.temporal_settings import TemporalSettings

__all__ = ["LayerFactory", "Resample", "ResidualBlock"]


@dataclass(frozen=True)
class LayerFactory:
    """Builds the layers of one U-Net.

    Attributes:
        emb: Length of the embedding of noise level and conditioning.
        context_channels: Channels of the context tokens; 0 for no context.
        time_channels: Length of the time embedding.
        head_channels: Channels of each attention head.
        spatial_levels: Levels with spatial attention.
        temporal_levels: Levels with temporal attention.
        temporal: Settings of the temporal layers.
        temporal_layer: Builds a further temporal layer, ``temporal_layer(channels, time_channels)``. None for none.
    """

    emb: int
    context_channels: int
    time_channels: int
    head_channels: int
    spatial_levels: frozenset[int]
    temporal_levels: frozenset[int]
    temporal: TemporalSettings
    temporal_layer: Callable[[int, int], TemporalLayer] | None

    def conv(self, in_channels: int, out_channels: int, stride: int = 1) -> PseudoConv3d:
        """Build a convolution."""
        return PseudoConv3d(in_channels, out_channels, stride=stride, temporal=self.temporal)

    def attention(self, channels: int, level: int) -> PseudoAttention3d | None:
        """Build the attention of a level. None if it has none."""
        spatial, temporal = level in self.spatial_levels, level in self.temporal_levels
        if not spatial and not temporal:
            return None
        return PseudoAttention3d(
            channels,
            self.head_channels,
            self.context_channels,
            self.time_channels,
            spatial=spatial,
            temporal=self.temporal if temporal else None,
        )

    def further_layer(self, channels: int) -> TemporalLayer | None:
        """Build the further temporal layer of a block. None if there is none."""
        if self.temporal_layer is None:
            return None
        try:
            layer = self.temporal_layer(channels, self.time_channels)
        except TypeError as error:
            raise UserError(
                f"cannot be built from the number of channels and the length of the time embedding: {error}.",
                argument="temporal_layer",
            ) from error
        if self.temporal.identity_init:
            layer.reset_to_identity()
        return layer


class ResidualBlock(nn.Module):
    """Norm, convolution, conditioning, norm, convolution, residual; then attention and a further temporal layer.

    Args:
        layers: Builds the layers.
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        level: Level of the U-Net, counted from 0 at the finest.
    """

    def __init__(self, layers: LayerFactory, in_channels: int, out_channels: int, level: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, in_channels), nn.GroupNorm(8, out_channels)
        self.conv1, self.conv2 = layers.conv(in_channels, out_channels), layers.conv(out_channels, out_channels)
        nn.init.zeros_(self.conv2.spatial.weight)
        self.emb_proj = nn.Linear(layers.emb, 2 * out_channels)
        same = in_channels == out_channels
        self.skip: nn.Module = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        self.attention = layers.attention(out_channels, level)
        self.temporal_layer = layers.further_layer(out_channels)

    def forward(
        self, x: Tensor, emb: Tensor, context: Tensor | None, time: Tensor | None, skipped: Tensor | None = None
    ) -> Tensor:
        """Run the block.

        Args:
            x: Images (B, C, H, W), or the frames of clips folded into the batch, (B·T, C, H, W).
            emb: Embedding of noise level and conditioning, shape (B or B·T, E).
            context: Context tokens, shape (B or B·T, N, D). None without context.
            time: Time embedding of each frame, shape (B, T, F). None for images.
            skipped: Features of the downsampling half, concatenated to `x` as further channels. None for none.
        """
        if skipped is not None:
            x = torch.cat([x, skipped], dim=1)
        frames = None if time is None else time.shape[1]
        h = self.conv1(F.silu(self.norm1(x)), frames)
        scale, shift = self.emb_proj(F.silu(emb))[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift), frames)
        x = self.skip(x) + h
        if self.attention is not None:
            x = self.attention(x, context, time)
        if self.temporal_layer is not None and time is not None:
            clips = self.temporal_layer(rearrange(x, "(b t) c h w -> b c t h w", t=time.shape[1]), time)
            x = rearrange(clips, "b c t h w -> (b t) c h w")
        return x

    def reset_to_identity(self) -> None:
        """Set the last layers of both residual branches to zero, so that the block returns its input.

        Its temporal layers must be the identity already, as they are before training unless `identity_init` is False.
        """
        zero_init(self.conv2.spatial)
        if self.attention is not None and self.attention.spatial is not None:
            zero_init(self.attention.spatial.out_proj)


class Resample(nn.Module):
    """Downsampling by a strided convolution, or upsampling by nearest neighbor followed by a convolution.

    Args:
        conv: The convolution.
        up: If True, upsample by a factor of two first.
    """

    def __init__(self, conv: PseudoConv3d, up: bool) -> None:
        super().__init__()
        self.conv, self.up = conv, up

    def forward(self, x: Tensor, emb: Tensor, context: Tensor | None, time: Tensor | None) -> Tensor:
        """Resample, with the arguments of `ResidualBlock`."""
        if self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        out: Tensor = self.conv(x, None if time is None else time.shape[1])
        return out

"""One U-Net for images and clips."""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mav_lightning.nn.embeddings import FrameTime, NumberEmbedding
from mav_lightning.nn.initialization import drawn_by_name
from mav_lightning.nn.layout import fold_frames, unfold_frames
from mav_lightning.nn.pseudo3d import PseudoAttention3d, PseudoConv3d

__all__ = ["SpaceTimeUNet"]

FpsConditioning = Literal["off", "embedding", "seconds"]


class SpaceTimeUNet(nn.Module):
    """A U-Net of pseudo-3D convolutions and attention, conditioned on noise level, image embedding and fps.

    Given images it skips every temporal layer, so the same network, with the same weights, is the image model it was
    grown from; with temporal layers at initialisation a clip equals its frames (§3.2 of Make-A-Video).

    The image embedding is added to the noise-level embedding and enters spatial attention as context tokens. The fps
    embedding is added beside them and starts at zero.

    Args:
        in_channels: Channels of the input; 3 for RGB, more where a stage concatenates conditions.
        out_channels: Channels of the output.
        channels: Channels at the first level.
        patch_size: Side of the square patches of pixels that the first level sees as one; 1 for single pixels.
        multipliers: Channels of each level, as multiples of `channels`; each further level halves the resolution.
        blocks: Residual blocks per level, on the way down and again on the way up.
        middle: Residual blocks between, at the coarsest level; where a clip is seen as a whole.
        attention: Levels, counted from 0 at the finest, with spatial and temporal attention.
        cond_channels: Length of the image embedding.
        context_tokens: Number of context tokens made of the image embedding.
        head_channels: Channels of an attention head.
        temporal_kernel_size: Frames under the temporal convolution; 0 or 1 switches all of them off.
        temporal_attention: Whether frames attend to frames where `attention` says so.
        temporal_attention_everywhere: Whether they also do at the levels without spatial attention.
        fps: How the frame rate enters: not at all, as an embedding, or as an embedding and as times in seconds.
        factorised: False for full 3D convolutions in the pseudo-3D ones' place.
        identity_init: Whether the temporal layers start without effect; False for a random start.
    """

    @drawn_by_name
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: int = 32,
        patch_size: int = 1,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 1,
        middle: int = 1,
        attention: Sequence[int] = (1, 2),
        cond_channels: int = 64,
        context_tokens: int = 4,
        head_channels: int = 32,
        temporal_kernel_size: int = 3,
        temporal_attention: bool = True,
        temporal_attention_everywhere: bool = False,
        fps: FpsConditioning = "seconds",
        factorised: bool = True,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        if fps not in ("off", "embedding", "seconds"):
            raise ValueError(f"SpaceTimeUNet: `fps` must be off, embedding or seconds, got {fps!r}.")
        widths = [channels * multiplier for multiplier in multipliers]
        emb = 4 * channels
        self.in_channels, self.out_channels, self.cond_channels = in_channels, out_channels, cond_channels
        self.patch_size = patch_size
        self.downsampling = patch_size * 2 ** (len(widths) - 1)
        self.context_tokens = context_tokens
        self.noise = NumberEmbedding(emb, 0.3, 8.0)
        self.cond = nn.Linear(cond_channels, emb)
        self.context = nn.Linear(cond_channels, context_tokens * emb)
        self.temporal_fps = NumberEmbedding(emb, 0.3, 6.0, zero=identity_init) if fps != "off" else None
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(emb, emb))
        self.frame_time = FrameTime(32, seconds=fps == "seconds")
        # Tells every layer which frame it looks at: what moves can then be compared with where it ought to be.
        timed = temporal_kernel_size > 1 or temporal_attention
        self.temporal_time = nn.Linear(self.frame_time.channels, emb) if timed else None
        if self.temporal_time is not None and identity_init:
            _silence(self.temporal_time)
        conv = functools.partial(
            PseudoConv3d,
            temporal_kernel_size=temporal_kernel_size,
            factorised=factorised,
            identity_init=identity_init,
        )

        def block(width_in: int, width_out: int, level: int) -> _Block:
            spatial = level in attention
            temporal = temporal_attention and (spatial or temporal_attention_everywhere)
            attend = functools.partial(
                PseudoAttention3d, width_out, head_channels, emb, self.frame_time.channels, spatial, temporal,
                identity_init,
            ) if spatial or temporal else None  # fmt: skip
            return _Block(width_in, width_out, emb, conv, attend)

        self.enter = conv(in_channels * patch_size**2, widths[0])
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, width = [], widths[0]
        for level, level_width in enumerate(widths):
            if level:
                self.down.append(_Resample(conv(width, width, stride=2), up=False))
            for _ in range(blocks):
                self.down.append(block(width, level_width, level))
                width = level_width
                skips.append(width)
        self.middle = nn.ModuleList(block(width, width, len(widths) - 1) for _ in range(middle))
        for level, level_width in reversed(list(enumerate(widths))):
            for _ in range(blocks):
                self.up.append(block(width + skips.pop(), level_width, level))
                width = level_width
            if level:
                self.up.append(_Resample(conv(width, widths[level - 1]), up=True))
                width = widths[level - 1]
        self.leave_norm = nn.GroupNorm(8, width)
        self.leave = conv(width, out_channels * patch_size**2)
        nn.init.zeros_(self.leave.spatial.weight)

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Runs the network.

        Args:
            x: Images, shape (B, C, H, W), or clips, shape (B, C, T, H, W); H and W multiples of `downsampling`.
            noise: The noise level as the denoiser encodes it, shape (B,).
            cond: Image embeddings, shape (B, D); a row of zeros means "no condition".
            fps: Frames per second of the clips, shape (B,); required for clips, ignored for images.

        Returns:
            The output, shape of `x` with `out_channels` channels.

        Raises:
            ValueError: A shape the network cannot take, or clips without fps.
        """
        frames = self._check(x, fps)
        emb = self.noise(noise) + self.cond(cond)
        context = self.context(cond).reshape(len(cond), self.context_tokens, -1)
        time = None
        if frames is not None:
            assert fps is not None
            if self.temporal_fps is not None:
                emb = emb + self.temporal_fps(fps.float().log())
            time = self.frame_time(frames, fps)
        emb = emb + self.mix(emb)
        if frames is not None:
            emb, context = (y.repeat_interleave(frames, dim=0) for y in (emb, context))
            if self.temporal_time is not None and time is not None:
                emb = emb + self.temporal_time(time).flatten(0, 1)
            x = fold_frames(x)
        x = F.pixel_unshuffle(x, self.patch_size).contiguous(memory_format=torch.channels_last)
        x = self.enter(x, frames)
        skips = []
        for layer in self.down:
            x = layer(x, emb, context, time)
            if isinstance(layer, _Block):
                skips.append(x)
        for layer in self.middle:
            x = layer(x, emb, context, time)
        for layer in self.up:
            x = layer(torch.cat([x, skips.pop()], dim=1) if isinstance(layer, _Block) else x, emb, context, time)
        x = F.pixel_shuffle(self.leave(F.silu(self.leave_norm(x)), frames), self.patch_size)
        return x if frames is None else unfold_frames(x, frames)

    def _check(self, x: Tensor, fps: Tensor | None) -> int | None:
        """The number of frames, or None for images."""
        if x.ndim not in (4, 5):
            raise ValueError(
                f"SpaceTimeUNet expects images (B, C, H, W) or clips (B, C, T, H, W), got {tuple(x.shape)}."
            )
        if x.shape[-1] % self.downsampling or x.shape[-2] % self.downsampling:
            raise ValueError(
                f"SpaceTimeUNet: frames of {x.shape[-2]}×{x.shape[-1]} pixels cannot be halved evenly; "
                f"sides must be multiples of {self.downsampling}."
            )
        if x.ndim == 4:
            return None
        if fps is None:
            raise ValueError("SpaceTimeUNet: clips need `fps`, shape (B,), in frames per second.")
        return x.shape[2]


class _Block(nn.Module):
    """Norm, convolution, conditioning, norm, convolution, residual; then attention where asked for."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        emb: int,
        conv: Callable[[int, int], PseudoConv3d],
        attend: Callable[[], PseudoAttention3d] | None,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width_in), nn.GroupNorm(8, width_out)
        self.conv1, self.conv2 = conv(width_in, width_out), conv(width_out, width_out)
        nn.init.zeros_(self.conv2.spatial.weight)
        self.modulate = nn.Linear(emb, 2 * width_out)
        self.skip = nn.Conv2d(width_in, width_out, 1) if width_in != width_out else nn.Identity()
        self.attention = attend() if attend else None

    def forward(self, x: Tensor, emb: Tensor, context: Tensor, time: Tensor | None) -> Tensor:
        frames = None if time is None else time.shape[1]
        h = self.conv1(F.silu(self.norm1(x)), frames)
        scale, shift = self.modulate(F.silu(emb))[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift), frames)
        x = self.skip(x) + h
        return x if self.attention is None else self.attention(x, context, time)


class _Resample(nn.Module):
    """Halves the resolution by a strided convolution, or doubles it by nearest neighbour and a convolution."""

    def __init__(self, conv: PseudoConv3d, up: bool) -> None:
        super().__init__()
        self.conv, self.up = conv, up

    def forward(self, x: Tensor, emb: Tensor, context: Tensor, time: Tensor | None) -> Tensor:
        if self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.conv(x, None if time is None else time.shape[1])


def _silence(layer: nn.Linear) -> None:
    """Starts a layer at zero, so that what it adds starts without effect."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)

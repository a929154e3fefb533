"""One U-Net for images and clips."""

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mav_lightning.common.arguments import checked
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeInt, PositiveInt
from mav_lightning.nn.activation_checkpointing import ActivationCheckpointing, run_layer
from mav_lightning.nn.base import SpaceTimeNetwork, TemporalLayer, check_levels
from mav_lightning.nn.embeddings import FpsConditioning, FrameTime, NumberEmbedding
from mav_lightning.nn.initialization import init_by_name, zero_init
from mav_lightning.nn.temporal_settings import Placement, TemporalSettings
from mav_lightning.nn.time_position import TimePosition
from mav_lightning.nn.unet_blocks import LayerFactory, Resample, ResidualBlock

__all__ = ["SpaceTimeUNet"]


class SpaceTimeUNet(SpaceTimeNetwork):
    """U-Net of pseudo-3D convolutions and attention, conditioned on noise level, image embedding and frame rate.

    Images skip every temporal layer, so the network, with the same weights, is the image model it was grown from. With
    temporal layers as initialized, the output for a clip equals that for its frames (§3.2 of Make-A-Video).

    The image embedding is added to the noise-level embedding and provides context tokens for spatial attention. The
    frame-rate embedding is added to both and starts at zero.

    Args:
        in_channels: Input channels: 3 for RGB, more if conditioning is concatenated.
        out_channels: Output channels.
        channels: Channels of the first level, a multiple of 8.
        patch_size: Height and width of the patches of pixels that form one position of the first level; 1 for pixels.
        multipliers: Channels of each level, in multiples of `channels`. Each further level halves the resolution.
        blocks: Residual blocks per level, in the downsampling and in the upsampling half each.
        mid_blocks: Residual blocks between the halves, at the coarsest level.
        attention: Levels with spatial attention, counted from 0 at the finest.
        cond_channels: Length of the image embedding.
        context_tokens: Number of context tokens made from the image embedding. 0 disables context.
        head_channels: Channels of each attention head.
        temporal_kernel_size: Temporal kernel size in frames, odd. 0 or 1 disables temporal convolution.
        temporal_attention: Enable temporal self-attention, at the levels in `attention`.
        temporal_attention_everywhere: Enable temporal self-attention at the other levels as well.
        fps: Frame-rate conditioning: none, an embedding of the frame rate, also frame times in seconds, or frame times
            in seconds in place of frame indices. The embedding conditions clips even if there is no temporal layer;
            seconds then have no effect.
        factorized: If False, use full 3D convolutions instead of pseudo-3D ones.
        identity_init: If False, initialize temporal layers at random instead of as the identity.
        temporal_layer: Class or factory of a further temporal layer, called with the number of channels and the length
            of the time embedding, that follows every residual block; see `TemporalLayer`. None for no further layer.
        temporal_causal: If True, no frame depends on a later one, as far as temporal convolution and attention go.
        temporal_placement: Order of temporal and spatial convolution, and of temporal and spatial attention: the
            temporal one ``after`` the spatial one, as in the paper, ``before`` it, or in ``parallel``.
        temporal_attention_window: Height and width, in positions of a level, of the windows in which the tokens of all
            frames attend to each other; where they do not divide a level's height or width, the next smaller divisor.
            1 for attention along time only, as in the paper. At a level that is no larger than a window, attention is
            joint space-time attention.
        temporal_position: How temporal attention distinguishes frames: by an ``absolute`` embedding of their time added
            to the tokens, by ``rotary`` embeddings, or by a ``relative`` bias of the attention scores. The unit of time
            is that of `fps`.
        activation_checkpointing: Activations of each block that are stored for the backward pass, with the same result:
            everything (``off``), the outputs of convolutions, matrix products and attention (``selective``), or only
            its input, so that the whole block is computed twice (``full``).

    Raises:
        UserError: If an argument is out of range, or has no effect in combination with the others.
    """

    @checked
    @init_by_name
    def __init__(
        self,
        in_channels: PositiveInt = 3,
        out_channels: PositiveInt = 3,
        channels: PositiveInt = 32,
        patch_size: PositiveInt = 1,
        multipliers: Sequence[PositiveInt] = (1, 2, 2),
        blocks: PositiveInt = 1,
        mid_blocks: NonNegativeInt = 1,
        attention: Sequence[NonNegativeInt] = (1, 2),
        cond_channels: PositiveInt = 64,
        context_tokens: NonNegativeInt = 4,
        head_channels: PositiveInt = 32,
        temporal_kernel_size: NonNegativeInt = 3,
        temporal_attention: bool = True,
        temporal_attention_everywhere: bool = False,
        fps: FpsConditioning = "seconds",
        factorized: bool = True,
        identity_init: bool = True,
        temporal_layer: Callable[[int, int], TemporalLayer] | None = None,
        temporal_causal: bool = False,
        temporal_placement: Placement = "after",
        temporal_attention_window: PositiveInt = 1,
        temporal_position: TimePosition = "absolute",
        activation_checkpointing: ActivationCheckpointing = "off",
    ) -> None:
        super().__init__()
        self.activation_checkpointing = activation_checkpointing
        temporal = TemporalSettings(
            temporal_kernel_size, factorized, temporal_placement, temporal_causal, temporal_attention_window,
            temporal_position, identity_init,
        )  # fmt: skip
        timed = temporal.convolution or temporal_attention or temporal_layer is not None
        if channels % 8:
            raise UserError(
                f"must be a multiple of 8, the number of normalization groups, got {channels}.", argument="channels"
            )
        check_levels(multipliers, attention)
        temporal.check(temporal_attention, temporal_attention_everywhere, attention, timed or fps != "off")
        widths, emb = [channels * multiplier for multiplier in multipliers], 4 * channels
        self.in_channels, self.out_channels, self.cond_channels = in_channels, out_channels, cond_channels
        self.patch_size, self.downsampling = patch_size, patch_size * 2 ** (len(widths) - 1)
        self.context_tokens = context_tokens
        self._add_embeddings(emb, fps, timed, identity_init)
        mixing_levels = range(len(widths)) if temporal_attention_everywhere else attention if temporal_attention else ()
        layers = LayerFactory(
            emb=emb,
            context_channels=emb if context_tokens else 0,
            time_channels=self.frame_time.channels,
            head_channels=head_channels,
            spatial_levels=frozenset(attention),
            temporal_levels=frozenset(mixing_levels),
            temporal=temporal,
            temporal_layer=temporal_layer,
        )
        self.conv_in = layers.conv(in_channels * patch_size**2, widths[0])
        self.down_blocks, skips = _down_blocks(layers, widths, blocks)
        mid = (ResidualBlock(layers, widths[-1], widths[-1], len(widths) - 1) for _ in range(mid_blocks))
        self.mid_blocks = nn.ModuleList(mid)
        self.up_blocks = _up_blocks(layers, widths, blocks, skips)
        self.norm_out = nn.GroupNorm(8, widths[0])
        self.conv_out = layers.conv(widths[0], out_channels * patch_size**2)
        nn.init.zeros_(self.conv_out.spatial.weight)

    def _add_embeddings(self, emb: int, fps: FpsConditioning, timed: bool, identity_init: bool) -> None:
        """Build the embeddings of noise level, condition, frame rate and frame time, of length `emb`."""
        self.noise_embedding = NumberEmbedding(emb, 0.3, 8.0)
        self.cond_proj = nn.Linear(self.cond_channels, emb)
        self.context_proj = nn.Linear(self.cond_channels, self.context_tokens * emb) if self.context_tokens else None
        self.fps_embedding = NumberEmbedding(emb, 0.3, 6.0, zero=identity_init) if fps != "off" else None
        self.emb_mlp = nn.Sequential(nn.SiLU(), nn.Linear(emb, emb))
        self.frame_time = FrameTime(fps)
        # Tells all layers which frame they process, so that motion can be compared with where an object should be.
        self.time_proj = nn.Linear(self.frame_time.channels, emb) if timed else None
        if self.time_proj is not None and identity_init:
            zero_init(self.time_proj)

    @property
    def input_weight(self) -> nn.Parameter:
        """Spatial kernel of the first convolution."""
        return self.get_parameter("conv_in.spatial.weight")

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield the parts of the temporal layers and the embeddings of frame rate and frame time."""
        yield from super().temporal_parts()
        yield from (part for part in (self.fps_embedding, self.time_proj) if part is not None)

    def insert_blocks(self, missing: Collection[str]) -> set[str]:
        """Make mid blocks of which a parent has no weight start as the identity; see `SpaceTimeNetwork`."""
        inserted: set[str] = set()
        for number, block in enumerate(self.mid_blocks):
            own = {f"mid_blocks.{number}.{name}" for name in block.state_dict()}
            if isinstance(block, ResidualBlock) and own.issubset(missing):
                block.reset_to_identity()
                inserted |= own
        return inserted

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Run the network.

        Args:
            x: Images, shape (B, C, H, W), or clips, shape (B, C, T, H, W); H and W multiples of `downsampling`.
            noise: Noise level as the denoiser encodes it, shape (B,).
            cond: Image embeddings, shape (B, D). A row of zeros means "no condition".
            fps: Frame rate of each clip in frames per second, shape (B,). Required for clips, ignored for images.

        Returns:
            The output, shape of `x` with `out_channels` channels.

        Raises:
            ValueError: If the shape of `x` or `cond` is not supported, or clips come without `fps`.
        """
        frames = self.check_input(x, fps)
        if not isinstance(cond, Tensor) or cond.shape != (len(x), self.cond_channels):
            found = tuple(cond.shape) if isinstance(cond, Tensor) else repr(cond)
            raise ValueError(
                f"SpaceTimeUNet: `cond` must be image embeddings of shape {(len(x), self.cond_channels)}, got {found}; "
                "rows of zeros mean no condition."
            )
        emb, context, time = self._embed(noise, cond, fps, frames)
        if frames is not None:
            x = rearrange(x, "b c t h w -> (b t) c h w")
        x = F.pixel_unshuffle(x, self.patch_size).contiguous(memory_format=torch.channels_last)
        x = self.conv_in(x, frames)
        skips = []
        for layer in self.down_blocks:
            x = run_layer(layer, self.activation_checkpointing, x, emb, context, time)
            if isinstance(layer, ResidualBlock):
                skips.append(x)
        for layer in self.mid_blocks:
            x = run_layer(layer, self.activation_checkpointing, x, emb, context, time)
        for layer in self.up_blocks:
            skipped = [skips.pop()] if isinstance(layer, ResidualBlock) else []
            x = run_layer(layer, self.activation_checkpointing, x, emb, context, time, *skipped)
        x = F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(x)), frames), self.patch_size)
        return x if frames is None else rearrange(x, "(b t) c h w -> b c t h w", t=frames)

    def _embed(
        self, noise: Tensor, cond: Tensor, fps: Tensor | None, frames: int | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the embedding and the context tokens of every image or frame, and the time embedding of clips."""
        emb = self.noise_embedding(noise) + self.cond_proj(cond)
        context = None
        if self.context_proj is not None:
            context = rearrange(self.context_proj(cond), "b (n d) -> b n d", n=self.context_tokens)
        if frames is None or fps is None:
            return emb + self.emb_mlp(emb), context, None
        if self.fps_embedding is not None:
            emb = emb + self.fps_embedding(fps.float().log())
        time = self.frame_time(frames, fps)
        emb = repeat(emb + self.emb_mlp(emb), "b d -> (b t) d", t=frames)
        if self.time_proj is not None:
            emb = emb + self.time_proj(time).flatten(0, 1)
        return emb, None if context is None else repeat(context, "b n d -> (b t) n d", t=frames), time


def _down_blocks(layers: LayerFactory, widths: list[int], blocks: int) -> tuple[nn.ModuleList, list[int]]:
    """Build the downsampling half; also return the channels of its skip connections."""
    down, skips, width = nn.ModuleList(), [], widths[0]
    for level, level_width in enumerate(widths):
        if level:
            down.append(Resample(layers.conv(width, width, stride=2), up=False))
        for _ in range(blocks):
            down.append(ResidualBlock(layers, width, level_width, level))
            width = level_width
            skips.append(width)
    return down, skips


def _up_blocks(layers: LayerFactory, widths: list[int], blocks: int, skips: list[int]) -> nn.ModuleList:
    """Build the upsampling half."""
    up, width, skips = nn.ModuleList(), widths[-1], list(skips)
    for level, level_width in reversed(list(enumerate(widths))):
        for _ in range(blocks):
            up.append(ResidualBlock(layers, width + skips.pop(), level_width, level))
            width = level_width
        if level:
            up.append(Resample(layers.conv(width, widths[level - 1]), up=True))
            width = widths[level - 1]
    return up

"""Layers that extend those of an image network by time, in place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from einops import rearrange
from torch import Tensor, nn

from mav_lightning.common.diffusers_library import diffusers_class
from mav_lightning.common.errors import UserError
from mav_lightning.nn.activation_checkpointing import ActivationCheckpointing, run_layer
from mav_lightning.nn.base import TemporalLayer
from mav_lightning.nn.pseudo3d import PseudoAttention3d, PseudoConv3d
from mav_lightning.nn.temporal_convolution import AddedConv1d, NeighborConv3d
from mav_lightning.nn.temporal_settings import TemporalSettings

__all__ = ["ClipContext", "GrownBlock", "GrownConv", "GrownEmbedding", "GrowthSettings", "add_time"]


class ClipContext:
    """State of the current forward pass, which the layers share because the image network does not pass it to them.

    Attributes:
        time: Time embedding of each frame, shape (B, T, F). None for images.
        emb: Added to the embedding of the noise level, shape (B or B·T, E). None for nothing.
    """

    time: Tensor | None = None
    emb: Tensor | None = None

    @contextmanager
    def running(self, time: Tensor | None, emb: Tensor | None) -> Iterator[None]:
        """Set both for the duration of a forward pass."""
        before, (self.time, self.emb) = (self.time, self.emb), (time, emb)
        try:
            yield
        finally:
            self.time, self.emb = before


@dataclass(frozen=True)
class GrowthSettings:
    """Which temporal layers are added, and how.

    Attributes:
        temporal: Settings of temporal convolution and attention.
        attention: Whether temporal attention accompanies spatial attention.
        everywhere: Whether temporal attention also follows residual blocks that no spatial attention follows.
        head_channels: Channels of each head of temporal attention.
        time_channels: Length of the time embedding.
        temporal_layer: Builds a further temporal layer after each residual block. None for none.
        checkpointing: Which activations of residual blocks and attention are stored for the backward pass.
    """

    temporal: TemporalSettings
    attention: bool
    everywhere: bool
    head_channels: int
    time_channels: int
    temporal_layer: Callable[[int, int], TemporalLayer] | None
    checkpointing: ActivationCheckpointing


class GrownConv(PseudoConv3d):
    """A pseudo-3D convolution around a trained 2D convolution.

    Args:
        conv: The trained convolution, with a square kernel of odd size.
        clip: Context of the network.
        settings: Temporal layers.

    Raises:
        UserError: If temporal convolution is in parallel with a convolution that reads an already padded input.
    """

    def __init__(self, conv: nn.Conv2d, clip: ClipContext, settings: GrowthSettings) -> None:
        super().__init__(conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0], settings.temporal)
        self.spatial, self.clip = conv, clip
        if isinstance(self.temporal, NeighborConv3d):
            self.temporal.padding = conv.padding
        elif isinstance(self.temporal, AddedConv1d) and conv.padding in ((0, 0), 0):
            raise UserError("parallel is not possible in this network; use `after`.", argument="temporal_placement")

    def forward(self, x: Tensor, frames: int | None = None) -> Tensor:
        """Convolve images, or the frames of clips folded into the batch; `frames` is taken from the context."""
        time = self.clip.time
        return super().forward(x, None if time is None else time.shape[1])


class GrownBlock(nn.Module):
    """A residual block or spatial attention of an image network, with temporal layers that images skip.

    Args:
        spatial: The trained block. Its first output has the shape (B or B·T, C, H, W).
        channels: Channels C.
        clip: Context of the network.
        settings: Temporal layers.
        attention: Whether temporal attention follows.
        further: Whether the further temporal layer follows, if there is one.
    """

    def __init__(
        self,
        spatial: nn.Module,
        channels: int,
        clip: ClipContext,
        settings: GrowthSettings,
        attention: bool,
        further: bool,
    ) -> None:
        super().__init__()
        self.spatial, self.clip, self.checkpointing = spatial, clip, settings.checkpointing
        # A residual block that no spatial attention follows has nothing to be placed before.
        self.placement = "after" if further else settings.temporal.placement
        self.attention: PseudoAttention3d | None = None
        self.temporal_layer: TemporalLayer | None = None
        if attention:
            self.attention = PseudoAttention3d(
                channels,
                settings.head_channels,
                time_channels=settings.time_channels,
                spatial=False,
                temporal=replace(settings.temporal, placement="after"),
            )
        if further and settings.temporal_layer is not None:
            self.temporal_layer = settings.temporal_layer(channels, settings.time_channels)
            if settings.temporal.identity_init:
                self.temporal_layer.reset_to_identity()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the trained block with its own arguments, then the temporal layers."""
        time, emb = self.clip.time, self.clip.emb

        def again(*args: Any, **kwargs: Any) -> Any:  # the backward pass may come after other samples
            with self.clip.running(time, emb):
                return self._run(*args, **kwargs)

        return run_layer(again, self.checkpointing, *args, **kwargs)

    def _run(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        time = self.clip.time
        if time is None:
            return self.spatial(x, *args, **kwargs)
        mixed = x if self.attention is None or self.placement == "after" else self.attention(x, time=time)
        out = self.spatial(mixed if self.placement == "before" else x, *args, **kwargs)
        first, *further = (out,) if isinstance(out, Tensor) else out
        if self.placement == "parallel":
            first = first + (mixed - x)
        elif self.placement == "after" and self.attention is not None:
            first = self.attention(first, time=time)
        if self.temporal_layer is not None:
            clips = self.temporal_layer(rearrange(first, "(b t) c h w -> b c t h w", t=time.shape[1]), time)
            first = rearrange(clips, "b c t h w -> (b t) c h w")
        return first if isinstance(out, Tensor) else (first, *further)


class GrownEmbedding(nn.Module):
    """The embedding of the noise level of an image network, to which that of condition and frame rate is added.

    Args:
        spatial: The trained embedding.
        clip: Context of the network.
    """

    def __init__(self, spatial: nn.Module, clip: ClipContext) -> None:
        super().__init__()
        self.spatial, self.clip = spatial, clip

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Embed noise levels, with the arguments of the trained embedding."""
        out: Tensor = self.spatial(*args, **kwargs)
        return out if self.clip.emb is None else out + self.clip.emb


def add_time(unet: nn.Module, clip: ClipContext, settings: GrowthSettings) -> None:
    """Replace the layers of a diffusers U-Net by layers followed by temporal ones.

    Every convolution with a kernel larger than 1 becomes a `GrownConv`; residual blocks and attention become a
    `GrownBlock` each, even where no temporal layer follows, so that the names of weights do not depend on settings.

    Args:
        unet: The U-Net, modified in place.
        clip: Context that the new layers share.
        settings: Temporal layers.
    """
    embedding = unet.get_submodule("time_embedding")
    unet.add_module("time_embedding", GrownEmbedding(embedding, clip))
    _replace_children(unet, clip, settings, attended=True)


def _replace_children(module: nn.Module, clip: ClipContext, settings: GrowthSettings, attended: bool) -> None:
    residual = diffusers_class("diffusers.models.resnet", "ResnetBlock2D")
    transformer = diffusers_class("diffusers.models.transformers.transformer_2d", "Transformer2DModel")
    attention = diffusers_class("diffusers.models.attention_processor", "Attention")
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d) and max(child.kernel_size) > 1:
            module.add_module(name, GrownConv(child, clip, settings))
        elif isinstance(child, transformer | attention):
            channels = child.in_channels if isinstance(child, transformer) else child.out_dim
            module.add_module(name, GrownBlock(child, channels, clip, settings, settings.attention, further=False))
        else:
            own = _is_attended(child) if hasattr(child, "resnets") else attended
            _replace_children(child, clip, settings, own)
            if isinstance(child, residual):
                follows = settings.everywhere and not attended
                block = GrownBlock(child, child.out_channels, clip, settings, follows, further=True)
                module.add_module(name, block)


def _is_attended(block: nn.Module) -> bool:
    """Return whether the residual blocks of a level are followed by spatial attention."""
    return any(one is not None for one in getattr(block, "attentions", ()))

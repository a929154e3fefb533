"""The network of make-a-video-pytorch, the best known reimplementation."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from mav_lightning.baselines.adapter import Adapter
from mav_lightning.common.arguments import checked
from mav_lightning.common.optional_import import optional_class
from mav_lightning.common.schema import NonNegativeInt, PositiveInt
from mav_lightning.nn.base import check_levels

__all__ = ["SpaceTimeUnet"]


class SpaceTimeUnet(Adapter):
    """``make_a_video_pytorch.SpaceTimeUnet``, unchanged; the conditioning is added to its noise-level embedding.

    The library has no conditioning on text or frame rate, so image embedding and frame rate enter with its time step.
    Images skip time. For clips, each of its feed-forward layers shifts half of the channels by one frame, so, unlike in
    the paper, the output for a clip at initialization does not equal that for its frames.

    References:
        https://github.com/lucidrains/make-a-video-pytorch

    Args:
        channels: The library's ``dim``: channels of the first level.
        multipliers: Channels of each level, in multiples of `channels`; height and width of the input must be multiples
            of two to the number of levels.
        blocks: Residual blocks of each level, in addition to the first.
        attention: Levels with attention, counted from 0 at the finest.
        head_channels: Channels of each attention head.
        heads: Number of attention heads.
        cond_channels: Length of the image embedding.

    Raises:
        UserError: If the library is not installed, or an argument is out of range.
    """

    @checked
    def __init__(
        self,
        channels: PositiveInt = 16,
        multipliers: Sequence[PositiveInt] = (1, 2, 4),
        blocks: PositiveInt = 1,
        attention: Sequence[NonNegativeInt] = (2,),
        head_channels: PositiveInt = 16,
        heads: PositiveInt = 4,
        cond_channels: PositiveInt = 64,
    ) -> None:
        check_levels(multipliers, attention)
        super().__init__(cond_channels, 4 * channels, downsampling=2 ** len(multipliers))
        levels = range(len(multipliers))
        self.net = optional_class("make_a_video_pytorch", "SpaceTimeUnet", "baselines")(
            dim=channels,
            dim_mult=tuple(multipliers),
            self_attns=tuple(level in attention for level in levels),
            temporal_compression=(False,) * len(multipliers),  # 9 frames cannot be halved
            resnet_block_depths=(blocks,) * len(multipliers),
            attn_dim_head=head_channels,
            attn_heads=heads,
        )

    @property
    def input_weight(self) -> nn.Parameter:
        """Spatial kernel of the first convolution."""
        weight: nn.Parameter = self.net.conv_in.spatial_conv.weight
        return weight

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield the library's temporal convolutions, temporal attention and temporal position biases."""
        library = "make_a_video_pytorch.make_a_video"
        names = ("PseudoConv3d", "SpatioTemporalAttention")
        conv, attention = (optional_class(library, name, "baselines") for name in names)
        for module in self.net.modules():
            if isinstance(module, conv) and module.temporal_conv is not None:
                yield module.temporal_conv
            elif isinstance(module, attention):
                yield from (module.temporal_attn, module.temporal_rel_pos_bias)

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Run the network, with the arguments of `Network.forward`.

        The noise level is passed in thousandths, about the range that the library expects.
        """
        extra = self.embed(cond, fps)
        hook = self.net.to_timestep_cond.register_forward_hook(lambda layer, inputs, embedded: embedded + extra)
        try:
            out: Tensor = self.net(x, timestep=1000.0 * noise.float(), enable_time=x.ndim == 5)
            return out
        finally:
            hook.remove()

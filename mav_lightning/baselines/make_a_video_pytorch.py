"""The network of make-a-video-pytorch, the best known reimplementation."""

from collections.abc import Sequence

from torch import Tensor

from mav_lightning.baselines.adapter import Adapter, foreign

__all__ = ["SpaceTimeUnet"]


class SpaceTimeUnet(Adapter):
    """``make_a_video_pytorch.SpaceTimeUnet`` as it is, its conditions added to its own embedding of the noise level.

    The library knows neither text nor frame rate, so the image embedding and fps enter where its time step does. It
    takes images too, and skips time in them. In clips each of its feed-forward layers shifts half of the channels by a
    frame, so, unlike the paper's, a clip at the start is not what its frames are.

    References:
        https://github.com/lucidrains/make-a-video-pytorch

    Args:
        channels: The library's ``dim``: channels at the first level.
        multipliers: Channels of each level, as multiples; sides must be multiples of two to the number of levels.
        blocks: Residual blocks of each level, beside the first.
        attention: Levels with attention, counted from 0 at the finest.
        head_channels: Channels of an attention head.
        heads: Attention heads.
        cond_channels: Length of the image embedding.

    Raises:
        UserError: The library is not installed.
    """

    def __init__(
        self,
        channels: int = 16,
        multipliers: Sequence[int] = (1, 2, 4),
        blocks: int = 1,
        attention: Sequence[int] = (2,),
        head_channels: int = 16,
        heads: int = 4,
        cond_channels: int = 64,
    ) -> None:
        super().__init__(cond_channels, 4 * channels)
        levels = range(len(multipliers))
        self.net = foreign("make_a_video_pytorch", "SpaceTimeUnet")(
            dim=channels,
            dim_mult=tuple(multipliers),
            self_attns=tuple(level in attention for level in levels),
            temporal_compression=(False,) * len(multipliers),  # 9 frames cannot be halved
            resnet_block_depths=(blocks,) * len(multipliers),
            attn_dim_head=head_channels,
            attn_heads=heads,
        )

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """As `SpaceTimeUNet.forward` of this project; the noise level in thousandths, near what the library expects."""
        extra = self.conditions(cond, fps)
        hook = self.net.to_timestep_cond.register_forward_hook(lambda layer, given, embedded: embedded + extra)
        try:
            return self.net(x, timestep=1000.0 * noise.float(), enable_time=x.ndim == 5)
        finally:
            hook.remove()

"""The 3D U-Net of diffusers, the network of ModelScope's text-to-video."""

from collections.abc import Sequence

from torch import Tensor, nn

from mav_lightning.baselines.adapter import Adapter, foreign

__all__ = ["UNet3D"]


class UNet3D(Adapter):
    """``diffusers.UNet3DConditionModel`` as it is, its conditions given as tokens for cross-attention.

    It knows clips only, so an image is a clip of one frame.

    References:
        https://huggingface.co/docs/diffusers/api/models/unet3d-cond

    Args:
        channels: At the first level.
        multipliers: Channels of each level, as multiples of `channels`.
        blocks: The library's ``layers_per_block``.
        attention: Levels with attention, counted from 0 at the finest.
        heads: Attention heads.
        context_tokens: Tokens made of the conditions.
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
        heads: int = 4,
        context_tokens: int = 4,
        cond_channels: int = 64,
    ) -> None:
        emb = 4 * channels
        super().__init__(cond_channels, emb)
        with_attention = [level in attention for level in range(len(multipliers))]
        self.context_tokens = context_tokens
        self.context = nn.Linear(emb, context_tokens * emb)
        self.net = foreign("diffusers", "UNet3DConditionModel")(
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            block_out_channels=tuple(channels * multiplier for multiplier in multipliers),
            layers_per_block=blocks,
            down_block_types=tuple(f"{'CrossAttn' * own}DownBlock3D" for own in with_attention),
            up_block_types=tuple(f"{'CrossAttn' * own}UpBlock3D" for own in reversed(with_attention)),
            norm_num_groups=8,
            cross_attention_dim=emb,
            attention_head_dim=heads,  # the library's name for their number
        )

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """As `SpaceTimeUNet.forward` of this project; the noise level in thousandths, near what the library expects."""
        context = self.context(self.conditions(cond, fps)).unflatten(1, (self.context_tokens, -1))
        clips = x if x.ndim == 5 else x.unsqueeze(2)
        found = self.net(clips, 1000.0 * noise.float(), context).sample
        return found if x.ndim == 5 else found.squeeze(2)

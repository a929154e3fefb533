"""The 3D U-Net of diffusers, the network of ModelScope's text-to-video."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from mav_lightning.baselines.adapter import Adapter
from mav_lightning.common.arguments import checked
from mav_lightning.common.optional_import import optional_class
from mav_lightning.common.schema import NonNegativeInt, PositiveInt
from mav_lightning.nn.base import check_levels

__all__ = ["UNet3D"]


class UNet3D(Adapter):
    """``diffusers.UNet3DConditionModel``, unchanged; the conditioning becomes tokens for cross-attention.

    It supports clips only, so an image is a clip of one frame.

    References:
        https://huggingface.co/docs/diffusers/api/models/unet3d-cond

    Args:
        channels: Channels of the first level.
        multipliers: Channels of each level, in multiples of `channels`.
        blocks: The library's ``layers_per_block``.
        attention: Levels with attention, counted from 0 at the finest.
        heads: Number of attention heads.
        context_tokens: Number of tokens made from the conditioning.
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
        heads: PositiveInt = 4,
        context_tokens: PositiveInt = 4,
        cond_channels: PositiveInt = 64,
    ) -> None:
        check_levels(multipliers, attention)
        emb = 4 * channels
        super().__init__(cond_channels, emb, downsampling=2 ** (len(multipliers) - 1))
        with_attention = [level in attention for level in range(len(multipliers))]
        self.context_tokens = context_tokens
        self.context_proj = nn.Linear(emb, context_tokens * emb)
        self.net = optional_class("diffusers", "UNet3DConditionModel", "baselines")(
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

    @property
    def input_weight(self) -> nn.Parameter:
        """Kernel of the first convolution."""
        weight: nn.Parameter = self.net.conv_in.weight
        return weight

    def temporal_parts(self) -> Iterator[nn.Module]:
        """Yield the library's temporal convolutions and temporal transformers."""
        kinds = (
            optional_class("diffusers.models.resnet", "TemporalConvLayer", "baselines"),
            optional_class(
                "diffusers.models.transformers.transformer_temporal", "TransformerTemporalModel", "baselines"
            ),
        )
        yield from (module for module in self.net.modules() if isinstance(module, kinds))

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Run the network, with the arguments of `Network.forward`.

        The noise level is passed in thousandths, about the range that the library expects.
        """
        context = self.context_proj(self.embed(cond, fps)).unflatten(1, (self.context_tokens, -1))
        clips = x if x.ndim == 5 else x.unsqueeze(2)
        out: Tensor = self.net(clips, 1000.0 * noise.float(), context).sample
        return out if x.ndim == 5 else out.squeeze(2)

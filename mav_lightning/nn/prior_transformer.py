"""The network of the prior: a transformer from captions to image embeddings (§3.1, following DALL-E 2)."""

import torch
from torch import Tensor, nn

from mav_lightning.common.arguments import checked
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveInt
from mav_lightning.nn.base import PriorNetwork
from mav_lightning.nn.embeddings import NumberEmbedding

__all__ = ["PriorTransformer"]


class PriorTransformer(PriorNetwork):
    """Transformer that predicts the denoised image embedding from a noisy one and a caption.

    The sequence is the caption embedding, its token embeddings, the noise level, the noisy image embedding, and a
    learned query whose output is the prediction.

    References:
        DALL-E 2 (Ramesh et al., 2022), §2.2: the prior predicts the embedding itself. https://arxiv.org/abs/2204.06125

    Args:
        channels: Length D of the embeddings.
        length: Maximum number of tokens in a caption; equal to the text encoder's.
        width: Channels of the transformer, a multiple of `heads`.
        layers: Number of transformer layers.
        heads: Number of attention heads.

    Raises:
        UserError: If `width` is not a multiple of `heads`.
    """

    @checked
    def __init__(
        self,
        channels: PositiveInt = 64,
        length: PositiveInt = 16,
        width: PositiveInt = 128,
        layers: PositiveInt = 2,
        heads: PositiveInt = 4,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"must be a multiple of heads={heads}, got {width}.", argument="width")
        self.channels, self.length = channels, length
        self.text_proj, self.image_proj = nn.Linear(channels, width), nn.Linear(channels, width)
        self.noise_embedding = NumberEmbedding(width, 0.3, 8.0)
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1 + length + 3, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, dim_feedforward=4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out_proj = nn.Linear(width, channels)
        nn.init.zeros_(self.out_proj.weight)

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Predict image embeddings.

        Args:
            x: Noisy image embeddings of about unit variance, shape (B, D).
            noise: Noise level as the denoiser encodes it, shape (B,).
            cond: Caption and token embeddings, shape (B, 1 + length, D). Rows of zeros are padding; a caption of zeros
                only means "no condition".
            fps: Ignored, since the prior is about images.

        Returns:
            Predicted embeddings, shape (B, D).
        """
        last = torch.stack([self.noise_embedding(noise), self.image_proj(x), self.query.expand(len(x), -1)], dim=1)
        sequence = torch.cat([self.text_proj(cond), last], dim=1) + self.positions
        padding = torch.cat([(cond == 0).all(dim=-1), cond.new_zeros(len(x), 3, dtype=torch.bool)], dim=1)
        out: Tensor = self.out_proj(self.transformer(sequence, src_key_padding_mask=padding)[:, -1])
        return out

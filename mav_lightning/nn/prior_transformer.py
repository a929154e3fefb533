"""The prior's network: a transformer from text to an image embedding (§3.1 of Make-A-Video, after DALL-E 2)."""

import torch
from torch import Tensor, nn

from mav_lightning.nn.embeddings import NumberEmbedding

__all__ = ["PriorTransformer"]


class PriorTransformer(nn.Module):
    """Predicts the clean image embedding from a noisy one and the text.

    The sequence is the caption's embedding and words, the noise level, the noisy image embedding, and a learned query
    where the prediction is read.

    References:
        DALL-E 2 (Ramesh et al., 2022), §2.2: the prior predicts the embedding itself. https://arxiv.org/abs/2204.06125

    Args:
        channels: Length D of the embeddings.
        length: Most words of a caption, as of the CLIP that reads it.
        width: Channels of the transformer.
        layers: Its layers.
        heads: Its attention heads.
    """

    def __init__(self, channels: int = 64, length: int = 16, width: int = 128, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.channels, self.length = channels, length
        self.text, self.image = nn.Linear(channels, width), nn.Linear(channels, width)
        self.noise = NumberEmbedding(width, 0.3, 8.0)
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        self.places = nn.Parameter(torch.randn(1 + length + 3, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, dim_feedforward=4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.leave = nn.Linear(width, channels)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, noise: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Runs the network.

        Args:
            x: Noisy image embeddings of about unit variance, shape (B, D).
            noise: The noise level as the denoiser encodes it, shape (B,).
            cond: Captions, shape (B, 1 + length, D): the embedding, then the words. Rows of zeros are padding, and a
                caption of nothing else means "no condition".
            fps: Ignored: the prior knows pictures only.

        Returns:
            The predicted embeddings, shape (B, D).
        """
        rest = torch.stack([self.noise(noise), self.image(x), self.query.expand(len(x), -1)], dim=1)
        sequence = torch.cat([self.text(cond), rest], dim=1) + self.places
        absent = torch.cat([(cond == 0).all(dim=-1), cond.new_zeros(len(x), 3, dtype=torch.bool)], dim=1)
        return self.leave(self.layers(sequence, src_key_padding_mask=absent)[:, -1])

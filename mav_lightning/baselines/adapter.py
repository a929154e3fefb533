"""What the adapters of other projects' networks share: the contract, and the embedding of the conditioning."""

from torch import Tensor, nn

from mav_lightning.common.schema import PositiveInt
from mav_lightning.nn.base import SpaceTimeNetwork
from mav_lightning.nn.embeddings import NumberEmbedding

__all__ = ["Adapter"]


class Adapter(SpaceTimeNetwork):
    """Base of networks of other projects.

    Args:
        cond_channels: Length of the image embedding.
        emb: Length of the vectors that embed the conditioning.
        downsampling: Height and width of the input must be multiples of this number.
    """

    def __init__(self, cond_channels: PositiveInt, emb: PositiveInt, downsampling: PositiveInt) -> None:
        super().__init__()
        self.in_channels = self.out_channels = 3
        self.cond_channels, self.downsampling = cond_channels, downsampling
        self.cond_proj = nn.Linear(cond_channels, emb)
        self.fps_embedding = NumberEmbedding(emb, 0.3, 6.0, zero=True)

    def embed(self, cond: Tensor, fps: Tensor | None) -> Tensor:
        """Embed the conditioning.

        Args:
            cond: Image embeddings, shape (B, D).
            fps: Frame rate of each clip in frames per second, shape (B,). None for images.

        Returns:
            Vectors, shape (B, emb).
        """
        embedded: Tensor = self.cond_proj(cond)
        return embedded if fps is None else embedded + self.fps_embedding(fps.float().log())

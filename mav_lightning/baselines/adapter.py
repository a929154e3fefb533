"""What both adapters share: what a U-Net of this project takes, and how its conditions become vectors."""

from importlib import import_module
from typing import Any

from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.nn.embeddings import NumberEmbedding

__all__ = ["Adapter", "foreign"]


def foreign(package: str, name: str) -> Any:
    """A class of another project's package.

    Raises:
        UserError: The package is not installed.
    """
    try:
        return getattr(import_module(package), name)
    except ImportError as error:
        raise UserError(f"needs {package}; run `pip install 'mav-lightning[baselines]'`.") from error


class Adapter(nn.Module):
    """A network that is called as `mav_lightning.nn.unet.SpaceTimeUNet` is.

    Args:
        cond_channels: Length of the image embedding.
        emb: Length of the vectors that the conditions become.

    Attributes:
        in_channels: Of the pixels.
        out_channels: Of the result.
        cond_channels: As given.
    """

    in_channels = out_channels = 3

    def __init__(self, cond_channels: int, emb: int) -> None:
        super().__init__()
        self.cond_channels = cond_channels
        self.cond = nn.Linear(cond_channels, emb)
        self.fps = NumberEmbedding(emb, 0.3, 6.0, zero=True)

    def conditions(self, cond: Tensor, fps: Tensor | None) -> Tensor:
        """Image embedding (B, D) and frame rate (B,), which images have none of, as one vector: (B, emb)."""
        embedded = self.cond(cond)
        return embedded if fps is None else embedded + self.fps(fps.float().log())

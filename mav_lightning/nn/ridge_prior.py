"""A linear map from text to image embeddings: a stand-in for the prior, and its fair baseline."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mav_lightning.common.schema import PositiveInt
from mav_lightning.nn.base import ImagePrior

__all__ = ["RidgePrior"]


class RidgePrior(ImagePrior):
    """Ridge regression from text embeddings to image embeddings.

    Args:
        channels: Length D of both embeddings.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, channels: PositiveInt = 64) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(channels, channels))
        self.register_buffer("bias", torch.zeros(channels))

    def forward(self, text: Tensor) -> Tensor:
        """Predict unit image embeddings (B, D) from text embeddings (B, D)."""
        return F.normalize(text @ self.weight + self.bias, dim=-1)

    def predict(self, captions: Tensor, seeds: Sequence[int]) -> Tensor:
        """Predict unit image embeddings (B, D) from captions (B, 1 + length, D). Deterministic: `seeds` are ignored."""
        return self.forward(captions[:, 0])

    def set_identity(self) -> "RidgePrior":
        """Set the map to the identity, which returns the text embedding, and return self."""
        self.weight.copy_(torch.eye(len(self.weight)))
        self.bias.zero_()
        return self

    def fit(self, text: Tensor, image: Tensor, penalty: float) -> float:
        """Solve for the map that minimizes the squared error plus `penalty` times the squared weights, in float64.

        Args:
            text: Text embeddings, shape (N, D).
            image: Image embeddings of the same pairs, shape (N, D).
            penalty: Weight of the squared weights, per sample. Positive, so that N may be smaller than D.

        Returns:
            The fraction of the image embeddings' variance that the map explains (R²).
        """
        x, y = text.double(), image.double()
        x_mean, y_mean = x.mean(0), y.mean(0)
        x, y = x - x_mean, y - y_mean
        gram = x.T @ x + penalty * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
        weight = torch.linalg.solve(gram, x.T @ y)
        self.weight.copy_(weight)
        self.bias.copy_(y_mean - x_mean @ weight)
        return float(1 - (y - x @ weight).square().sum() / y.square().sum())

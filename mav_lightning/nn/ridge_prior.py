"""A linear map from text to image embeddings: the prior's place-holder, and afterwards its fair baseline."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mav_lightning.nn.base import Prior

__all__ = ["RidgePrior"]


class RidgePrior(Prior):
    """Maps text embeddings to image embeddings by ridge regression.

    Args:
        channels: Length D of both embeddings.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(channels, channels))
        self.register_buffer("bias", torch.zeros(channels))

    def forward(self, text: Tensor) -> Tensor:
        """Predicts unit image embeddings from text embeddings, (B, D) → (B, D)."""
        return F.normalize(text @ self.weight + self.bias, dim=-1)

    def predict(self, captions: Tensor, seeds: Sequence[int]) -> Tensor:
        """As of the diffusion prior: captions (B, 1 + length, D) → unit image embeddings (B, D); nothing is drawn."""
        return self(captions[:, 0])

    def identity_(self) -> "RidgePrior":
        """Becomes the map that gives the text embedding itself."""
        self.weight.copy_(torch.eye(len(self.weight)))
        self.bias.zero_()
        return self

    def fit(self, text: Tensor, image: Tensor, penalty: float) -> float:
        """Solves for the map that minimises the squared error plus `penalty` times the squared weights, in float64.

        Args:
            text: Text embeddings, shape (N, D).
            image: Image embeddings of the same pairs, shape (N, D).
            penalty: Weight of the squared weights per sample; positive, so that N may be smaller than D.

        Returns:
            The share of the image embeddings' variance that the map explains.
        """
        x, y = text.double(), image.double()
        x_mean, y_mean = x.mean(0), y.mean(0)
        x, y = x - x_mean, y - y_mean
        gram = x.T @ x + penalty * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
        weight = torch.linalg.solve(gram, x.T @ y)
        self.weight.copy_(weight)
        self.bias.copy_(y_mean - x_mean @ weight)
        return float(1 - (y - x @ weight).square().sum() / y.square().sum())

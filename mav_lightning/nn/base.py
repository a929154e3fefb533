"""Contracts of the networks."""

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["Prior"]


class Prior(nn.Module):
    """Map from text to an image embedding: the prior P (§3.1)."""

    def predict(self, captions: Tensor, seeds: Sequence[int]) -> Tensor:
        """Predict the image embeddings of captions.

        Args:
            captions: Embeddings of B captions and of their words, shape (B, 1 + length, D).
            seeds: One seed per caption; an embedding depends on its own caption and seed only.

        Returns:
            Embeddings of unit length, shape (B, D).
        """
        raise NotImplementedError

"""Shapes World embeddings of frames and captions, for ``shapes-clipsim``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from evaluation.extractors.base import TextExtractor
from evaluation.extractors.shapes_layers import FEATURES, ShapesExtractor, ShapesSettings, image_trunk

__all__ = ["ShapesClip", "ShapesClipSettings", "split_words"]


class ShapesClip(ShapesExtractor, TextExtractor):
    """``shapes-clip``: joint embedding of frames and captions, for ``shapes-clipsim``.

    It never conditions a generator: similarity to the embedding that a sample was conditioned on would be biased.

    Args:
        words: Vocabulary; other words are ignored.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self.words = tuple(words)
        self.trunk = image_trunk()
        self.embedding = nn.EmbeddingBag(len(words) + 1, FEATURES, mode="mean", padding_idx=len(words))
        self.text = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, FEATURES))
        self.temperature = nn.Parameter(torch.tensor(2.3))  # log of the logits' scale, about 10

    def forward(self, prepared: Tensor) -> Tensor:
        """Embed clips as unit vectors: (N, T, 3, 32, 32) → (N, T, 32)."""
        features = self.images(rearrange(prepared, "n t c h w -> (n t) c h w"))
        return rearrange(features, "(n t) d -> n t d", n=len(prepared))

    def images(self, frames: Tensor) -> Tensor:
        """Embed frames as unit vectors: (N, 3, 32, 32) → (N, 32)."""
        return F.normalize(self.trunk(frames), dim=-1)

    def texts(self, captions: Sequence[str]) -> Tensor:
        """Embed N captions as unit vectors: (N, 32)."""
        index = {word: number for number, word in enumerate(self.words)}
        known = [[index[word] for word in split_words(text) if word in index] for text in captions]
        longest = max((len(words) for words in known), default=0) or 1
        padded = [words + [len(index)] * (longest - len(words)) for words in known]
        device = self.embedding.weight.device
        return F.normalize(self.text(self.embedding(torch.tensor(padded, device=device))), dim=-1)


@dataclass(frozen=True)
class ShapesClipSettings(ShapesSettings):
    """Settings of `ShapesClip`."""

    kind = "shapes-clip"
    network = ShapesClip


def split_words(text: str) -> list[str]:
    """Split a text into lower-case words.

    Example:
        >>> split_words("Red circle, dark ground")
        ['red', 'circle', 'dark', 'ground']
    """
    return re.findall(r"[a-z]+", text.lower())

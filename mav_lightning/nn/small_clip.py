"""CLIP: one encoder for images, one for captions, one space for both; and a small one of our own."""

import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["SmallCLIP", "TextImageEncoder", "tokenize"]

_WORD = re.compile(r"[a-z0-9]+")


def tokenize(captions: Sequence[str], length: int, vocabulary: int) -> Tensor:
    """Turns captions into word ids, shape (N, length); 0 pads, longer captions are cut.

    Words are lower-cased and hashed, so that any caption has ids without a vocabulary file; two words may share one.

    Example:
        >>> ids = tokenize(["A red circle", "a RED circle!"], length=4, vocabulary=1024)
        >>> bool((ids[0] == ids[1]).all()), int(ids[0, 3])
        (True, 0)
    """
    ids = torch.zeros(len(captions), length, dtype=torch.long)
    for row, caption in zip(ids, captions, strict=True):
        words = _WORD.findall(caption.lower())[:length]
        row[: len(words)] = torch.tensor([1 + zlib.crc32(word.encode()) % (vocabulary - 1) for word in words])
    return ids


class TextImageEncoder(nn.Module):
    """What everything after CLIP needs of one.

    Attributes:
        channels: Length D of an embedding.
        length: Most words or tokens of a caption.
        size: Side of the images it was made for, in pixels.
    """

    channels: int
    length: int
    size: int

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embeds images (B, 3, H, W) in [-1, 1] of any size as unit vectors (B, D)."""
        raise NotImplementedError

    def encode_words(self, captions: Sequence[str]) -> Tensor:
        """Embeds N captions and each of their words, (N, 1 + length, D): what the prior reads.

        The first row is `encode_text`; a row for every word follows, in the same space, and zeros where there is none.
        """
        raise NotImplementedError

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Embeds N captions as unit vectors (N, D). An empty caption embeds too."""
        return self.encode_words(captions)[:, 0]


class SmallCLIP(TextImageEncoder):
    """A contrastive image-text model small enough to train in a minute.

    References:
        CLIP (Radford et al., 2021). https://arxiv.org/abs/2103.00020

    Args:
        size: Side of the images it sees, in pixels; others are resized to it. A multiple of 8.
        channels: Length of an embedding.
        width: Channels of the first convolution; the text encoder is four times as wide.
        vocabulary: Number of word ids.
        length: Most words of a caption.
        layers: Transformer layers of the text encoder.
    """

    def __init__(
        self,
        size: int = 16,
        channels: int = 64,
        width: int = 32,
        vocabulary: int = 2048,
        length: int = 16,
        layers: int = 1,
    ) -> None:
        super().__init__()
        self.size, self.channels, self.vocabulary, self.length = size, channels, vocabulary, length
        wide = 4 * width
        self.image = nn.Sequential(
            *_down(3, width),
            *_down(width, 2 * width),
            *_down(2 * width, wide),
            # Mean over places: an embedding says what is there rather than where.
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(wide, channels),
        )
        self.words = nn.Embedding(vocabulary, wide, padding_idx=0)
        self.places = nn.Parameter(torch.randn(length, wide) * 0.02)
        layer = nn.TransformerEncoderLayer(
            wide, nhead=4, dim_feedforward=2 * wide, dropout=0.0, batch_first=True, norm_first=True
        )
        self.text = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.text_out = nn.Linear(wide, channels)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embeds images (B, 3, H, W) in [-1, 1] of any size as unit vectors (B, D)."""
        if pixels.shape[-2:] != (self.size, self.size):
            pixels = F.interpolate(pixels, (self.size, self.size), mode="bilinear", antialias=True)
        return F.normalize(self.image(pixels), dim=-1)

    def encode_words(self, captions: Sequence[str]) -> Tensor:
        """Embeds N captions and each of their words, (N, 1 + length, D); see `TextImageEncoder`."""
        tokens = tokenize(captions, self.length, self.vocabulary).to(self.places.device)
        padding = tokens == 0
        padding[:, 0] = False  # attention over nothing would be NaN
        x = self.text(self.words(tokens) + self.places, src_key_padding_mask=padding)
        keep = (~padding)[..., None]
        words = self.text_out(x) * keep
        whole = F.normalize(self.text_out((x * keep).sum(1) / keep.sum(1)), dim=-1)
        return torch.cat([whole[:, None], words], dim=1)

    def loss(self, pixels: Tensor, captions: Sequence[str]) -> Tensor:
        """The symmetric contrastive loss of a batch; equal captions count as one another's match."""
        images, texts = self.encode_image(pixels), self.encode_text(captions)
        logits = self.log_scale.exp().clamp(max=100.0) * images @ texts.T
        same = torch.tensor([[a == b for b in captions] for a in captions], device=logits.device).float()
        target = same / same.sum(1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _down(width_in: int, width_out: int) -> list[nn.Module]:
    return [nn.Conv2d(width_in, width_out, 3, stride=2, padding=1), nn.GroupNorm(8, width_out), nn.SiLU()]

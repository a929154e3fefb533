"""A small CLIP of our own: one encoder for images and one for captions."""

import re
import zlib
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mav_lightning.common.arguments import checked
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveInt
from mav_lightning.nn.base import TextImageEncoder

__all__ = ["SmallCLIP", "split_words", "tokenize"]

_TOKEN = re.compile(r"[a-z0-9]+")
_WORD = re.compile(r"\w+")


def split_words(caption: str, length: int) -> list[str]:
    """Return the first `length` words of a caption, lower-cased, as `tokenize` reads them.

    Example:
        >>> split_words("A red circle!", length=2)
        ['a', 'red']
    """
    return _TOKEN.findall(caption.lower())[:length]


def tokenize(captions: Sequence[str], length: int, vocabulary: int) -> Tensor:
    """Convert captions to token ids, shape (N, length); 0 is padding and longer captions are truncated.

    Words are lower-cased and hashed, so that no vocabulary file is needed; two words may share an id.

    Example:
        >>> ids = tokenize(["A red circle", "a RED circle!"], length=4, vocabulary=1024)
        >>> bool((ids[0] == ids[1]).all()), int(ids[0, 3])
        (True, 0)
    """
    ids = torch.zeros(len(captions), length, dtype=torch.long)
    for row, caption in zip(ids, captions, strict=True):
        words = split_words(caption, length)
        row[: len(words)] = torch.tensor([1 + zlib.crc32(word.encode()) % (vocabulary - 1) for word in words])
    return ids


class SmallCLIP(TextImageEncoder):
    """A contrastive image-text model small enough to train in a minute.

    References:
        CLIP (Radford et al., 2021). https://arxiv.org/abs/2103.00020

    Args:
        size: Height and width of the images it sees, in pixels, at least 8; other images are resized.
        channels: Length of the embeddings.
        width: Channels of the first convolution, a multiple of 8; the text encoder has four times as many.
        vocabulary: Number of token ids, at least 2.
        length: Maximum number of tokens in a caption.
        layers: Transformer layers of the text encoder.

    Raises:
        UserError: If `size`, `width` or `vocabulary` is too small or `width` not a multiple of 8.
    """

    @checked
    def __init__(
        self,
        size: PositiveInt = 16,
        channels: PositiveInt = 64,
        width: PositiveInt = 32,
        vocabulary: PositiveInt = 2048,
        length: PositiveInt = 16,
        layers: PositiveInt = 1,
    ) -> None:
        super().__init__()
        if width % 8 or width < 8:
            raise UserError(f"must be a multiple of 8, got {width}.", argument="width")
        if size < 8 or vocabulary < 2:
            name, value, least = ("size", size, 8) if size < 8 else ("vocabulary", vocabulary, 2)
            raise UserError(f"must be at least {least}, got {value}.", argument=name)
        self.size, self.channels, self.vocabulary, self.length = size, channels, vocabulary, length
        wide = 4 * width
        self.image_encoder = nn.Sequential(
            *_downsample(3, width),
            *_downsample(width, 2 * width),
            *_downsample(2 * width, wide),
            # Average over positions: the embedding describes what is shown, not where.
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(wide, channels),
        )
        self.token_embedding = nn.Embedding(vocabulary, wide, padding_idx=0)
        self.positions = nn.Parameter(torch.randn(length, wide) * 0.02)
        layer = nn.TransformerEncoderLayer(
            wide, nhead=4, dim_feedforward=2 * wide, dropout=0.0, batch_first=True, norm_first=True
        )
        self.text_encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.text_proj = nn.Linear(wide, channels)
        self.logit_scale = nn.Parameter(torch.tensor(10.0).log())

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [-1, 1] of any size as unit vectors (B, D)."""
        if pixels.shape[-2:] != (self.size, self.size):
            pixels = F.interpolate(pixels, (self.size, self.size), mode="bilinear", antialias=True)
        return F.normalize(self.image_encoder(pixels), dim=-1)

    def encode_words(self, captions: Sequence[str]) -> Tensor:
        """Embed N captions and each of their tokens, shape (N, 1 + length, D); zeros after the last token."""
        tokens = tokenize(captions, self.length, self.vocabulary).to(self.positions.device)
        padding = tokens == 0
        padding[:, 0] = False  # attention over an empty sequence would be NaN
        x = self.text_encoder(self.token_embedding(tokens) + self.positions, src_key_padding_mask=padding)
        keep = (~padding)[..., None]
        words = self.text_proj(x) * keep
        caption = F.normalize(self.text_proj((x * keep).sum(1) / keep.sum(1)), dim=-1)
        return torch.cat([caption[:, None], words], dim=1)

    def unread(self, caption: str) -> str:
        """Return the end of a caption after the first `length` words; empty if everything is read."""
        starts = [found.start() for found in _TOKEN.finditer(caption.lower())]
        return caption[starts[self.length] :].strip() if len(starts) > self.length else ""

    def unknown_words(self, caption: str, known: Collection[str]) -> list[str]:
        """Return the words of a caption that have a part, or all of their letters, outside the training captions'."""
        read = caption.rstrip().removesuffix(self.unread(caption)).lower()
        parts = {word: _TOKEN.findall(word) for word in _WORD.findall(read)}
        return [word for word, tokens in parts.items() if not tokens or not set(tokens) <= set(known)]

    def loss(self, pixels: Tensor, captions: Sequence[str]) -> Tensor:
        """Compute the symmetric contrastive loss of a batch; samples with equal captions count as positive pairs."""
        names = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
        ids = torch.tensor([names[caption] for caption in captions])
        return self.contrast(self.encode_image(pixels), self.encode_text(captions), ids)

    def contrast(self, images: Tensor, texts: Tensor, ids: Tensor) -> Tensor:
        """Compute the symmetric contrastive loss of embeddings.

        Args:
            images: Unit vectors of the images, shape (B, D).
            texts: Unit vectors of their captions, shape (B, D).
            ids: Numbers of the captions, shape (B,); equal captions have the same and match each other.
        """
        logits = self.logit_scale.exp().clamp(max=100.0) * images @ texts.T
        ids = ids.to(logits.device)
        same = (ids[:, None] == ids[None, :]).float()
        target = same / same.sum(1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _downsample(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1), nn.GroupNorm(8, out_channels), nn.SiLU()]

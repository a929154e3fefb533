"""Captions to the tokens of a Hugging Face text encoder, without reading files."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["CaptionTokenizer"]


class CaptionTokenizer:
    """A tokenizer that pads and truncates captions to one length.

    Args:
        content: Content of ``tokenizer.json``.
        length: Number of tokens of every caption.
        pad_id: Token that fills captions up.

    Raises:
        ValueError: If the content is not a tokenizer.
    """

    def __init__(self, content: str, length: int, pad_id: int) -> None:
        self._tokenizer = _read(content)
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(length=length, pad_id=pad_id)

    def encode(self, captions: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the tokens of N captions, shape (N, length), and which of them are not padding, of the same shape."""
        tokens = self._tokenizer.encode_batch(list(captions))
        ids = torch.tensor([one.ids for one in tokens], device=device)
        return ids, torch.tensor([one.attention_mask for one in tokens], device=device)

    def unread(self, caption: str) -> str:
        """Return the end of a caption that exceeds the maximum number of tokens; empty if everything is read."""
        further = self._tokenizer.encode(caption).overflowing
        starts = [
            start
            for part in further
            for (start, end), special in zip(part.offsets, part.special_tokens_mask, strict=True)
            if not special and end > start
        ]
        return caption[min(starts) :].strip() if starts else ""


def _read(content: str) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(content)
    except Exception as error:  # the library raises nothing more specific
        raise ValueError(f"the tokenizer cannot be read ({error})") from error

"""The text encoder of an unCLIP pipeline of diffusers, such as Karlo's."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mav_lightning.common.caption_tokenizer import CaptionTokenizer
from mav_lightning.common.errors import UserError
from mav_lightning.common.transformers_library import demand_no_code, transformers_library
from mav_lightning.nn.base import TextImageEncoder

__all__ = ["UnclipTextEncoder"]


class UnclipTextEncoder(TextImageEncoder):
    """A ``CLIPTextModelWithProjection`` of transformers with its tokenizer; such a pipeline has no encoder of images.

    Captions are embedded as the pipeline's prior and decoder were trained on them: the projected embedding with its own
    norm, then the last hidden state of every token.

    Args:
        config: Content of the model's ``config.json``.
        tokenizer: Content of ``tokenizer.json``.

    Raises:
        UserError: If the extra `clip` is not installed.
        ValueError: If the tokens and the caption have embeddings of different lengths.
    """

    size = 0  # of images: it reads none
    no_images = (
        "the text encoder of an unCLIP pipeline embeds no images, so this pipeline makes clips from texts alone."
    )

    def __init__(self, config: Mapping[str, Any], tokenizer: str) -> None:
        super().__init__()
        transformers = transformers_library()
        demand_no_code(config)
        parsed = transformers.CLIPTextConfig.from_dict(dict(config))
        if parsed.hidden_size != parsed.projection_dim:
            raise ValueError(
                f"its tokens have {parsed.hidden_size} channels and its captions {parsed.projection_dim}; unCLIP needs "
                "the same number"
            )
        self.model = transformers.CLIPTextModelWithProjection(parsed)
        self.channels, self.length = parsed.projection_dim, parsed.max_position_embeddings
        self._tokenizer = CaptionTokenizer(tokenizer, self.length, parsed.eos_token_id)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Raise an error: this encoder embeds no images.

        Raises:
            UserError: Always.
        """
        raise UserError(self.no_images, argument="clip")

    def encode_words(self, captions: Sequence[str]) -> Tensor:
        """Embed N captions and each of their tokens, shape (N, 1 + length, D); zeros after the last token."""
        ids, keep = self._tokenizer.encode(captions, self.model.device)
        output = self.model(ids)
        return torch.cat([output.text_embeds[:, None], output.last_hidden_state * keep[..., None]], dim=1)

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Embed N captions as unit vectors (N, D)."""
        return F.normalize(self.encode_words(captions)[:, 0], dim=-1)

    def unread(self, caption: str) -> str:
        """Return the end of a caption that exceeds the maximum number of tokens; empty if everything is read."""
        return self._tokenizer.unread(caption)

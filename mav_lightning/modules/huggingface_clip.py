"""CLIP models in Hugging Face's format, used in place of the small CLIP."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mav_lightning.common.caption_tokenizer import CaptionTokenizer
from mav_lightning.common.pixels import clip_input
from mav_lightning.common.transformers_library import demand_no_code, transformers_library
from mav_lightning.nn.base import TextImageEncoder

__all__ = ["MEAN", "STD", "HuggingFaceCLIP"]

# Those of OpenAI's models, used if a folder does not specify them.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class HuggingFaceCLIP(TextImageEncoder):
    """A `transformers.CLIPModel` with its tokenizer, built without reading files.

    Args:
        config: Content of the model's ``config.json``.
        tokenizer: Content of ``tokenizer.json``.
        mean: Mean of the training pixels by channel, in [0, 1].
        std: Standard deviation of the training pixels by channel, in [0, 1].

    Raises:
        UserError: If the extra `clip` is not installed.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, config: Mapping[str, Any], tokenizer: str, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
    ) -> None:
        super().__init__()
        transformers = transformers_library()
        demand_no_code(config)
        parsed = transformers.CLIPConfig.from_dict(dict(config))
        self.model = transformers.CLIPModel(parsed)
        self.channels, self.size = parsed.projection_dim, parsed.vision_config.image_size
        self.length = parsed.text_config.max_position_embeddings
        self._tokenizer = CaptionTokenizer(tokenizer, self.length, parsed.text_config.eos_token_id)
        self.register_buffer("mean", torch.tensor(list(mean))[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(list(std))[:, None, None], persistent=False)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [-1, 1] of any size as unit vectors (B, D)."""
        features = self.model.vision_model(pixel_values=clip_input(pixels, self.size, self.mean, self.std))
        return F.normalize(self.model.visual_projection(features.pooler_output), dim=-1)

    def encode_words(self, captions: Sequence[str]) -> Tensor:
        """Embed N captions and each of their tokens, shape (N, 1 + length, D); zeros after the last token."""
        ids, keep = self._tokenizer.encode(captions, self.mean.device)
        features = self.model.text_model(input_ids=ids, attention_mask=keep)
        caption = F.normalize(self.model.text_projection(features.pooler_output), dim=-1)
        words = self.model.text_projection(features.last_hidden_state) * keep[..., None]
        return torch.cat([caption[:, None], words], dim=1)

    def unread(self, caption: str) -> str:
        """Return the end of a caption that exceeds the maximum number of tokens; empty if everything is read."""
        return self._tokenizer.unread(caption)

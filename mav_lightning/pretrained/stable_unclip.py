"""The encoder of given pictures of a Stable unCLIP pipeline of diffusers, which reads no texts and has no prior."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mav_lightning.common.errors import UserError
from mav_lightning.common.pixels import clip_input
from mav_lightning.common.transformers_library import demand_no_code, transformers_library
from mav_lightning.nn.base import ImagePrior, TextImageEncoder

__all__ = ["AbsentPrior", "StableUnclipImageEncoder"]

_NO_TEXTS = (
    "the image encoder of a Stable unCLIP pipeline embeds no texts, so this pipeline makes variations of given clips "
    "alone; use --variation, or write it with a CLIP of texts and images and a prior (`mav pipeline --clip --prior`)."
)


class StableUnclipImageEncoder(TextImageEncoder):
    """A ``CLIPVisionModelWithProjection`` of transformers; such a pipeline has no encoder of captions into its space.

    Args:
        config: Content of the model's ``config.json``.
        mean: Mean of the training pixels by channel, in [0, 1].
        std: Standard deviation of the training pixels by channel, in [0, 1].

    Raises:
        UserError: If the extra `clip` is not installed.
    """

    length = 0  # of captions: it reads none
    no_texts = _NO_TEXTS
    mean: Tensor
    std: Tensor

    def __init__(self, config: Mapping[str, Any], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        transformers = transformers_library()
        demand_no_code(config)
        parsed = transformers.CLIPVisionConfig.from_dict(dict(config))
        self.model = transformers.CLIPVisionModelWithProjection(parsed)
        self.channels, self.size = parsed.projection_dim, parsed.image_size
        self.register_buffer("mean", torch.tensor(list(mean))[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(list(std))[:, None, None], persistent=False)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [-1, 1] of any size as unit vectors (B, D)."""
        embeds = self.model(pixel_values=clip_input(pixels, self.size, self.mean, self.std)).image_embeds
        return F.normalize(embeds, dim=-1)

    def encode_words(self, captions: Sequence[str]) -> Tensor:
        """Raise an error: this encoder embeds no captions.

        Raises:
            UserError: Always.
        """
        raise UserError(self.no_texts, argument="clip")


class AbsentPrior(ImagePrior):
    """Placeholder for the prior in a pipeline without text input, which can only generate variations of given clips."""

    def predict(self, captions: Tensor, seeds: Sequence[int]) -> Tensor:
        """Raise an error: there is no prior.

        Raises:
            UserError: Always.
        """
        raise UserError(
            "this pipeline has no prior, so it can only generate variations of given clips.", argument="prior"
        )

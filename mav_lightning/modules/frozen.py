"""Pretrained encoders that condition a network and are neither trained nor saved with it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.modules.base import ImageEncoder
from mav_lightning.nn.base import TextImageEncoder

__all__ = ["FrozenCLIP"]


class FrozenCLIP(ImageEncoder):
    """Frozen CLIP that embeds images and captions.

    Not an `nn.Module` on purpose: a submodule would become part of its user's parameters and checkpoints, and a stage's
    checkpoint holds only what the stage trains. The encoder is identified by the stage that trained it.

    Args:
        clip: The trained CLIP.

    Attributes:
        channels: Length D of the embeddings.
        length: Maximum number of tokens in a caption.
        size: Height and width of the images it was trained on, in pixels.

    Raises:
        UserError: If `clip` is not a `TextImageEncoder`.
    """

    def __init__(self, clip: nn.Module) -> None:
        if not isinstance(clip, TextImageEncoder):
            raise UserError(f"must embed images and captions, got a {type(clip).__name__}.", argument="clip")
        self.clip = clip.eval().requires_grad_(False)
        self.channels, self.length, self.size = clip.channels, clip.length, clip.size

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [-1, 1] as unit vectors (B, D), on the device of the images."""
        return self.clip.to(pixels.device).encode_image(pixels)

    @torch.no_grad()
    def encode_words(self, captions: Sequence[str], device: torch.device) -> Tensor:
        """Embed N captions and their tokens, shape (N, 1 + length, D), on `device`."""
        return self.clip.to(device).encode_words(captions)

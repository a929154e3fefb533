"""Encoders that are used but neither trained nor saved."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.nn.small_clip import TextImageEncoder

__all__ = ["Blind", "FrozenCLIP"]


class FrozenCLIP:
    """Embeds images, and captions, with a CLIP that stays as it is.

    Deliberately no `nn.Module`: a module would enter its user's parameters and checkpoints, and a stage's checkpoint
    holds what the stage trained. The encoder is named by the stage it came from.

    Args:
        clip: The trained CLIP.

    Attributes:
        channels: Length D of its embeddings.
        length: Most words of a caption.
        size: Side of the images it was made for, in pixels.

    Raises:
        UserError: Not a CLIP.
    """

    def __init__(self, clip: nn.Module) -> None:
        if not isinstance(clip, TextImageEncoder):
            raise UserError(f"module.encoder.clip: must embed images and texts, got a {type(clip).__name__}.")
        self.clip = clip.eval().requires_grad_(False)
        self.channels, self.length, self.size = clip.channels, clip.length, clip.size

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embeds images (B, 3, H, W) in [-1, 1] as unit vectors (B, D) on the images' device."""
        return self.clip.to(pixels.device).encode_image(pixels)

    @torch.no_grad()
    def encode_words(self, captions: Sequence[str], device: torch.device) -> Tensor:
        """Embeds N captions and their words, (N, 1 + length, D), on `device`."""
        return self.clip.to(device).encode_words(captions)


class Blind:
    """Takes an encoder's place where a network is told nothing but what it is given: super-resolution.

    Args:
        channels: Length of the embeddings.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embeds images (B, 3, H, W) as zeros (B, D), which means "no condition"."""
        return pixels.new_zeros(len(pixels), self.channels)

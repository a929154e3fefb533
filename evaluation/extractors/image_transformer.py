"""Image transformers in Hugging Face format, from a local folder: DINO and DINOv2, which tell subjects apart."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import FrameFeatures
from evaluation.extractors.pretrained import load_pretrained
from evaluation.extractors.pretrained_transformer import Levels, PretrainedTransformer, PretrainedTransformerSettings
from evaluation.resize import Resize

__all__ = ["ImageTransformer", "ImageTransformerSettings"]

_KINDS = ("dinov2", "dinov2_with_registers", "vit")
_FRAMES = 64  # per forward pass


class ImageTransformer(PretrainedTransformer, FrameFeatures):
    """One feature vector per frame: the class token after the last layer normalization, as DINO's code returns it.

    References:
        Emerging Properties in Self-Supervised Vision Transformers (Caron et al., 2021), DINO.
        https://arxiv.org/abs/2104.14294
        DINOv2: Learning Robust Visual Features without Supervision (Oquab et al., 2023).
        https://arxiv.org/abs/2304.07193

    Args:
        folder: Folder that `save_pretrained` wrote: ``config.json`` and ``model.safetensors``.
        resize: Resizing of frames to the size of the model's input.
        mean: Mean of red, green and blue that is subtracted, of values in [0, 1].
        std: Standard deviation of red, green and blue to divide by.

    Raises:
        UserError: If the extra `clip` is not installed, the folder holds another model, or a weight is missing.
    """

    def __init__(self, folder: Path, resize: Resize, mean: Levels, std: Levels) -> None:
        super().__init__(load_pretrained(folder, _KINDS), resize, mean, std)

    def prepare(self, clip: Clip) -> Tensor:
        """Resize frames: (T, 3, size, size) float32 in [0, 255]."""
        return self.resize(clip.pixels)

    def forward(self, prepared: Tensor) -> Tensor:
        """Compute features: (N, T, 3, size, size) in [0, 255] → (N, T, d)."""
        frames = self.normalized(prepared).flatten(0, 1)
        found = torch.cat([self.model(part).last_hidden_state[:, 0].float() for part in frames.split(_FRAMES)])
        features: Tensor = found.unflatten(0, prepared.shape[:2])
        return features


@dataclass(frozen=True)
class ImageTransformerSettings(PretrainedTransformerSettings):
    """Settings of `ImageTransformer`."""

    kind = "image-transformer"
    network = ImageTransformer

"""Image transformers in Hugging Face format, from a local folder: DINO and DINOv2, which tell subjects apart."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import ExtractorSettings, FrameFeatures, LoadedExtractor
from evaluation.extractors.pretrained import load_pretrained, weights_identity
from evaluation.resize import Resize, resizer
from mav_lightning.common.schema import PositiveFloat, PositiveInt

__all__ = ["ImageTransformer", "ImageTransformerSettings"]

_KINDS = ("dinov2", "dinov2_with_registers", "vit")
_FRAMES = 64  # per forward pass


class ImageTransformer(FrameFeatures):
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

    mean: Tensor
    std: Tensor

    def __init__(
        self, folder: Path, resize: Resize, mean: tuple[float, float, float], std: tuple[float, float, float]
    ) -> None:
        super().__init__()
        self.model, self.resize = load_pretrained(folder, _KINDS), resize
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def prepare(self, clip: Clip) -> Tensor:
        """Resize frames: (T, 3, size, size) float32 in [0, 255]."""
        return self.resize(clip.pixels)

    def forward(self, prepared: Tensor) -> Tensor:
        """Compute features: (N, T, 3, size, size) in [0, 255] → (N, T, d)."""
        frames = ((prepared / 255 - self.mean) / self.std).flatten(0, 1)
        found = torch.cat([self.model(part).last_hidden_state[:, 0].float() for part in frames.split(_FRAMES)])
        features: Tensor = found.unflatten(0, prepared.shape[:2])
        return features


@dataclass(frozen=True)
class ImageTransformerSettings(ExtractorSettings):
    """Settings of `ImageTransformer`.

    Attributes:
        weights: Name of a folder in Hugging Face's format in the folder of weights, or a path.
        resize: Name of a rule in `evaluation.resize`.
        size: Height and width after resizing, in pixels.
        mean: Mean of red, green and blue that is subtracted, of values in [0, 1].
        std: Standard deviation of red, green and blue to divide by.
        sha256: Expected sha256 of the weights file, as Hugging Face's site shows it. None accepts any.
    """

    kind = "image-transformer"
    network = ImageTransformer

    weights: str
    resize: str
    size: PositiveInt
    mean: tuple[float, float, float]
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    sha256: str | None = None

    def load(self, weights: Path) -> LoadedExtractor:
        """Check the weights' hash, then load the network.

        Raises:
            UserError: If a file is missing, is not the one pinned, or cannot be read.
        """
        folder = weights / self.weights
        identity = weights_identity(folder, self.sha256)
        return LoadedExtractor(ImageTransformer(folder, resizer(self.resize, self.size), self.mean, self.std), identity)

"""What image and video transformers in Hugging Face format share: normalization of pixels, and settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from evaluation.extractors.base import ExtractorSettings, FeatureExtractor, LoadedExtractor
from evaluation.extractors.pretrained import weights_identity
from evaluation.resize import Resize, resizer
from mav_lightning.common.schema import PositiveFloat, PositiveInt

__all__ = ["Levels", "PretrainedTransformer", "PretrainedTransformerSettings"]

Levels = tuple[float, float, float]


class PretrainedTransformer(FeatureExtractor):
    """Base of extractors that resize frames, normalize them by channel and run a pretrained transformer.

    Args:
        model: The transformer, in evaluation mode.
        resize: Resizing of frames to the size of the model's input.
        mean: Mean of red, green and blue that is subtracted, of values in [0, 1].
        std: Standard deviation of red, green and blue to divide by.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, resize: Resize, mean: Levels, std: Levels) -> None:
        super().__init__()
        self.model, self.resize = model, resize
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def normalized(self, prepared: Tensor) -> Tensor:
        """Return pixels (…, 3, size, size) in [0, 255] as the model's input."""
        return (prepared / 255 - self.mean) / self.std


@dataclass(frozen=True)
class PretrainedTransformerSettings(ExtractorSettings):
    """Base of the settings of image and video transformers.

    Attributes:
        weights: Name of a folder in Hugging Face's format in the folder of weights, or a path.
        resize: Name of a rule in `evaluation.resize`.
        size: Height and width after resizing, in pixels.
        mean: Mean of red, green and blue that is subtracted, of values in [0, 1].
        std: Standard deviation of red, green and blue to divide by.
        sha256: Expected sha256 of the weights file, as Hugging Face's site shows it. None accepts any.
    """

    network: ClassVar[Any]

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
        extractor = self.network(folder, resizer(self.resize, self.size), self.mean, self.std)
        return LoadedExtractor(extractor, identity)

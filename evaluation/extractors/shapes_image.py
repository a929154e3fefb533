"""Shapes World image features, for ``shapes-fid`` and appearance accuracy."""

from dataclasses import dataclass

from torch import Tensor

from evaluation.extractors.base import FrameFeatures
from evaluation.extractors.shapes_layers import (
    APPEARANCE,
    ShapesExtractor,
    ShapesSettings,
    attribute_heads,
    image_trunk,
)

__all__ = ["ShapesImage", "ShapesImageSettings"]


class ShapesImage(ShapesExtractor, FrameFeatures):
    """``shapes-image``: features of frames, for ``shapes-fid`` and appearance accuracy."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = image_trunk()
        self.heads = attribute_heads(APPEARANCE)

    def forward(self, prepared: Tensor) -> Tensor:
        """Features: (N, T, 3, 32, 32) → (N, T, 32)."""
        return self.images(prepared.flatten(0, 1)).unflatten(0, prepared.shape[:2])

    def images(self, frames: Tensor) -> Tensor:
        """Features: (N, 3, 32, 32) → (N, 32)."""
        return self.trunk(frames)

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """Logits over `APPEARANCE`, by attribute: (N, 32) → (N, classes)."""
        return {name: head(features) for name, head in self.heads.items()}


@dataclass(frozen=True)
class ShapesImageSettings(ShapesSettings):
    """Settings of `ShapesImage`."""

    kind = "shapes-image"
    network = ShapesImage

"""Shapes World image features, for ``shapes-fid`` and appearance accuracy."""

from dataclasses import dataclass

from einops import rearrange
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
        """Compute features: (N, T, 3, 32, 32) → (N, T, 32)."""
        features = self.images(rearrange(prepared, "n t c h w -> (n t) c h w"))
        return rearrange(features, "(n t) d -> n t d", n=len(prepared))

    def images(self, frames: Tensor) -> Tensor:
        """Compute features: (N, 3, 32, 32) → (N, 32)."""
        features: Tensor = self.trunk(frames)
        return features

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """Compute logits of each attribute in `APPEARANCE` from features: (N, 32) → (N, classes)."""
        return {name: head(features) for name, head in self.heads.items()}


@dataclass(frozen=True)
class ShapesImageSettings(ShapesSettings):
    """Settings of `ShapesImage`."""

    kind = "shapes-image"
    network = ShapesImage

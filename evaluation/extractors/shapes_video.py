"""Shapes World video features, for ``shapes-fvd`` and ``shapes-kvd``."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evaluation.extractors.base import ClipFeatures
from evaluation.extractors.shapes_layers import (
    APPEARANCE,
    FEATURES,
    MOTIONS,
    ShapesExtractor,
    ShapesSettings,
    attribute_heads,
    conv1d,
    conv2d,
)

__all__ = ["ShapesVideo", "ShapesVideoSettings"]


class ShapesVideo(ShapesExtractor, ClipFeatures):
    """``shapes-video``: features of clips, for ``shapes-fvd``. The frame rate is not an input.

    Each frame yields an appearance vector and key points (expected coordinates under a spatial softmax), since pooling
    loses positions. Appearance is reduced to its mean and mean deviation over time. Key points pass through separate
    temporal convolutions, as their small displacements would be lost next to the appearance.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv2d(3, 16), conv2d(16, 16, stride=1))  # (N, 16, 16, 16)
        self.points = nn.Conv2d(16, 8, 1)
        self.spread = nn.BatchNorm1d(2 * 8)  # an untrained softmax is flat: its expected places hardly differ
        self.appearance = nn.Sequential(
            conv2d(16, 32), conv2d(32, 64), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 32)
        )
        self.time = nn.Sequential(*conv1d(2 * 8, 64), *conv1d(64, 64), *conv1d(64, 64))
        self.features = nn.Linear(2 * 32 + 2 * 64, FEATURES)
        self.heads = attribute_heads(APPEARANCE | {"motion": MOTIONS})

    def forward(self, prepared: Tensor) -> Tensor:
        """Compute features: (N, T, 3, 32, 32), any T → (N, 1, 32)."""
        return self.features_and_centers(prepared)[0][:, None]

    def features_and_centers(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features (N, 32), and the object's key point (N, T, 2) in frame widths, the first of several."""
        clips = prepared.shape[:2]
        maps = self.stem(prepared.flatten(0, 1))
        looks, places = self.appearance(maps).unflatten(0, clips), _expected_places(self.points(maps))
        steps = self.time(self.spread(places.flatten(1)).unflatten(0, clips).transpose(1, 2))
        unrest = (looks - looks.mean(dim=1, keepdim=True)).abs()
        pooled = (looks.mean(dim=1), unrest.mean(dim=1), steps.mean(dim=2), steps.amax(dim=2))
        return self.features(torch.cat(pooled, dim=1)), places[:, 0].unflatten(0, clips)

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """Compute logits of each attribute in `APPEARANCE` and of `MOTIONS` from features: (N, 32) → (N, classes)."""
        return {name: head(features) for name, head in self.heads.items()}


@dataclass(frozen=True)
class ShapesVideoSettings(ShapesSettings):
    """Settings of `ShapesVideo`."""

    kind = "shapes-video"
    network = ShapesVideo


def _expected_places(maps: Tensor) -> Tensor:
    """Compute the mean x and y, in widths, under the softmax of each map: (N, K, H, W) → (N, K, 2)."""
    weight = maps.flatten(2).softmax(dim=2).unflatten(2, maps.shape[2:])
    y, x = ((torch.arange(side, device=maps.device) + 0.5) / side for side in maps.shape[2:])
    return torch.stack([weight.sum(dim=2) @ x, weight.sum(dim=3) @ y], dim=2)

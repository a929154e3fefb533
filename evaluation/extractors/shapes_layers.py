"""Parts shared by the Shapes World extractors: input, classes, layers and settings.

The extractors are small networks, trained on clips in which shape and motion law are independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Extractor, ExtractorSettings, LoadedExtractor
from evaluation.extractors.shipped_weights import load_extractor
from evaluation.resize import check_frames
from mav_lightning.common.pixels import dequantize
from mav_lightning.common.shapes_world.laws import LAWS
from mav_lightning.common.shapes_world.scene import COLOURS, GROUNDS, SHAPES

__all__ = [
    "APPEARANCE",
    "FEATURES",
    "MOTIONS",
    "ShapesExtractor",
    "ShapesSettings",
    "attribute_heads",
    "conv1d",
    "conv2d",
    "image_trunk",
    "network_input",
]

INPUT_SIZE = 32  # pixels; frames of other sizes are resized
FEATURES = 32  # few, so that a hundred clips determine their covariance
APPEARANCE: dict[str, Sequence[str]] = {"colour": tuple(COLOURS), "shape": SHAPES, "ground": GROUNDS}
# "none" is motion of no law: still, shuffled, jumping. Without it the features need not notice such motion.
MOTIONS = (*LAWS, "none")


def network_input(frames: Tensor) -> Tensor:
    """Resize (bilinear, antialiased) and scale frames: (N, H, W, 3) uint8 → (N, 3, 32, 32) float in [-1, 1]."""
    pixels = dequantize(rearrange(frames, "... h w c -> ... c h w"))
    if pixels.shape[-2:] == (INPUT_SIZE, INPUT_SIZE):
        return pixels
    return F.interpolate(pixels, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True, align_corners=False)


class ShapesExtractor(Extractor):
    """Extractor whose network takes frames of 32 pixels."""

    def prepare(self, clip: Clip) -> Tensor:
        """Return the frames in [-1, 1], shape (T, 3, 32, 32)."""
        check_frames(clip.pixels)
        return network_input(torch.from_numpy(clip.pixels))


@dataclass(frozen=True)
class ShapesSettings(ExtractorSettings):
    """Settings of a Shapes World extractor, whose weights are shipped.

    Attributes:
        sha256: Expected sha256 of the weights.
    """

    metric_prefix = "shapes-"

    sha256: str

    def load(self, weights: Path) -> LoadedExtractor:
        """Load the shipped weights; `weights` is not used.

        Raises:
            UserError: If the weights are not those pinned.
        """
        return LoadedExtractor(load_extractor(self.kind, self.sha256), self.sha256)


def attribute_heads(classes: dict[str, Sequence[str]]) -> nn.ModuleDict:
    """Return a linear classifier for each attribute: name → classes."""
    return nn.ModuleDict({name: nn.Linear(FEATURES, len(names)) for name, names in classes.items()})


def image_trunk() -> nn.Sequential:
    """Return the network of frames: (N, 3, 32, 32) → (N, 32)."""
    layers = (conv2d(3, 24, stride=1), conv2d(24, 32), conv2d(32, 48), conv2d(48, 64))  # (N, 64, 4, 4)
    # the maximum over places, since a mean would drown the one object in ground
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, FEATURES))


def conv2d(inputs: int, outputs: int, stride: int = 2) -> nn.Sequential:
    """Return 3x3 convolution, batch normalization and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def conv1d(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """Return a convolution over 3 time steps, batch normalization and ReLU."""
    return nn.Conv1d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()

"""Inception v3, the network of FID, loaded by clean-fid."""

from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Extractor, FrameFeatures
from evaluation.extractors.torchscript import freeze, load_torchscript
from evaluation.extractors.weight_file import WeightFileSettings
from evaluation.resize import Resize
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveInt
from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

__all__ = ["Inception", "InceptionSettings"]

INCEPTION_FILE = "inception-2015-12-05.pt"  # the only name that clean-fid looks for
_IMAGES = 32  # at once through the network


class Inception(FrameFeatures):
    """Inception v3 in clean-fid's wrapper, one feature vector per frame.

    The wrapper takes values in [0, 255], maps x to (x - 128) / 128, and does not resize.

    References:
        GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017), §4. https://arxiv.org/abs/1706.08500

    Args:
        path: File ``inception-2015-12-05.pt``, the port that StyleGAN2-ADA published. It is never downloaded here.
        resize: Resizing of frames to 299 pixels; ``clean-bicubic`` gives clean-fid's FID.

    Raises:
        UserError: If the file is missing, has another name, or is not that network.
    """

    def __init__(self, path: Path, resize: Resize) -> None:
        super().__init__()
        if path.name != INCEPTION_FILE:
            raise UserError(f"{path}: clean-fid needs the name `{INCEPTION_FILE}`; rename the file.")
        ensure_torchvision_imports()
        from cleanfid.inception_torchscript import InceptionV3W  # here, as it takes a while

        if not hasattr(load_torchscript(path), "layers"):
            raise UserError(f"{path}: this network has no `layers`; give NVIDIA's port of Inception, {INCEPTION_FILE}.")
        self.network = freeze(InceptionV3W(str(path.parent), download=False, resize_inside=False).eval())
        self.resize = resize

    def prepare(self, clip: Clip) -> Tensor:
        """Resize frames: (T, 3, 299, 299) float32 in [0, 255].

        Raises:
            UserError: If the resizing gives another size.
        """
        frames = self.resize(clip.pixels)
        if frames.shape[-2:] != (299, 299):
            height, width = frames.shape[-2:]
            raise UserError(f"Inception takes 299 x 299 pixels, got {height} x {width}; set `size: 299`.")
        return frames

    def forward(self, prepared: Tensor) -> Tensor:
        """Compute features: (N, T, 3, 299, 299) → (N, T, 2048)."""
        images = torch.split(rearrange(prepared, "n t c h w -> (n t) c h w"), _IMAGES)
        features = torch.cat([self.network(part) for part in images]).float()
        return rearrange(features, "(n t) d -> n t d", n=len(prepared))


@dataclass(frozen=True)
class InceptionSettings(WeightFileSettings):
    """Settings of `Inception`."""

    kind = "inception"
    network = Inception

    size: PositiveInt = 299

    def open(self, path: Path) -> Extractor:
        """Load the network."""
        return Inception(path, self.required_resizer())

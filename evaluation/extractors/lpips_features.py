"""Features whose squared distance is LPIPS: AlexNet from a local file, with linear heads from torchmetrics."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluation.clip_sources import Clip
from evaluation.extractors.base import ExtractorSettings, FrameFeatures, LoadedExtractor
from evaluation.resize import check_frames
from evaluation.weight_files import check_weights
from mav_lightning.common.errors import UserError
from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

__all__ = ["LPIPSFeatures", "LPIPSSettings"]

_FRAMES = 16  # per forward pass
_LEAST = 63  # pixels per side, below which a layer of AlexNet has no output


class LPIPSFeatures(FrameFeatures):
    """One vector per frame; the squared distance of two of them is LPIPS (version 0.1, AlexNet) of the frames.

    LPIPS is a weighted mean of squared feature differences, so features are scaled by the roots of its weights.

    References:
        The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang et al., 2018).
        https://arxiv.org/abs/1801.03924

    Args:
        network: LPIPS of torchmetrics, with its weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.lpips: Any = network.eval().requires_grad_(False)

    def prepare(self, clip: Clip) -> Tensor:
        """Return the frames, shape (T, 3, H, W), float32 in [-1, 1].

        Raises:
            UserError: If frames are smaller than AlexNet can take.
        """
        check_frames(clip.pixels)
        if min(clip.pixels.shape[1:3]) < _LEAST:
            height, width = clip.pixels.shape[1:3]
            raise UserError(f"clip `{clip.id}`: {width}x{height} pixels; LPIPS needs at least {_LEAST} per side.")
        return torch.from_numpy(clip.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1

    def forward(self, prepared: Tensor) -> Tensor:
        """Compute features: (N, T, 3, H, W) in [-1, 1] → (N, T, d)."""
        frames = torch.cat([self._features(part) for part in prepared.flatten(0, 1).split(_FRAMES)])
        features: Tensor = frames.unflatten(0, prepared.shape[:2])
        return features

    def _features(self, images: Tensor) -> Tensor:
        found = []
        for layer, head in zip(self.lpips.net(self.lpips.scaling_layer(images)), self.lpips.lins, strict=True):
            unit = layer / torch.sqrt(1e-8 + layer.square().sum(dim=1, keepdim=True))  # as torchmetrics
            weight = head.model[-1].weight.clamp(min=0) / (layer.shape[2] * layer.shape[3])
            found.append((unit * weight.sqrt()).flatten(1))
        return torch.cat(found, dim=1)


@dataclass(frozen=True)
class LPIPSSettings(ExtractorSettings):
    """Settings of `LPIPSFeatures`.

    Attributes:
        weights: Name of torchvision's file of AlexNet in the folder of weights, or a path.
        sha256: Expected sha256 of the file. None accepts any.
    """

    kind = "lpips"
    network = LPIPSFeatures

    weights: str
    sha256: str | None = None

    def load(self, weights: Path) -> LoadedExtractor:
        """Check the weights' hash, then load the network.

        Raises:
            UserError: If the file is missing, is not the one pinned, or holds other weights.
        """
        ensure_torchvision_imports()
        from torchmetrics.functional.image import lpips

        path = weights / self.weights
        identity = check_weights(path, self.sha256)
        with torch.device("meta"):  # it makes a whole AlexNet of random weights, a quarter of a gigabyte
            network = lpips._LPIPS(pretrained=False, net="alex", pnet_rand=True)
        network.scaling_layer = lpips.ScalingLayer()
        heads = Path(lpips.__file__).parent / "lpips_models" / "alex.pth"
        network.load_state_dict(torch.load(heads, map_location="cpu", weights_only=True), strict=False, assign=True)
        features = _alexnet_features(path)
        for part in (getattr(network.net, f"slice{number}") for number in range(1, 6)):
            for name, layer in part.named_children():
                layer.load_state_dict(features[int(name)].state_dict(), assign=True)
        return LoadedExtractor(LPIPSFeatures(network), identity)


def _alexnet_features(path: Path) -> nn.Sequential:
    """Load the convolutions of AlexNet; its classifier, a quarter of a gigabyte that LPIPS does not use, is dropped."""
    from torchvision.models import alexnet

    with torch.device("meta"):
        backbone = alexnet(weights=None)
    try:
        backbone.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), assign=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not the weights of torchvision's AlexNet ({reason}); download them again.") from error
    features: nn.Sequential = backbone.features
    return features

"""I3D in StyleGAN-V's TorchScript file, the usual network of FVD."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import ClipFeatures, Extractor
from evaluation.extractors.i3d_network import require_frames
from evaluation.extractors.torchscript import clip_rows, load_torchscript, network_input
from evaluation.extractors.weight_file import WeightFileSettings
from evaluation.resize import Resize
from mav_lightning.common.errors import UserError

__all__ = ["TorchScriptI3D", "TorchScriptI3DSettings"]

_ARGUMENTS = ("rescale", "resize", "return_features")


class TorchScriptI3D(ClipFeatures):
    """``i3d_torchscript.pt``: StyleGAN-V's port of the I3D of the first FVD; 400 logits of Kinetics per clip.

    The file scales 0..255 to [-1, 1], and resizes if asked to. It is called as in StyleGAN-V:
    ``network(x, rescale=True, resize=..., return_features=True)``.

    References:
        StyleGAN-V (Skorokhodov et al., 2022), appendix on FVD. https://arxiv.org/abs/2112.14683

    Args:
        path: The TorchScript file.
        resize: Resizing of frames to 224 pixels. None leaves it to the file, as StyleGAN-V does, which then needs clips
            of one size.

    Raises:
        UserError: If the file is missing, is not TorchScript, or does not take these arguments.
    """

    def __init__(self, path: Path, resize: Resize | None = None) -> None:
        super().__init__()
        self.network, self.resize = load_torchscript(path), resize
        taken = [argument.name for argument in self.network.forward.schema.arguments[1:]]
        if missing := [name for name in _ARGUMENTS if name not in taken]:
            raise UserError(
                f"{path}: this network takes ({', '.join(taken)}), without {', '.join(missing)}; give the "
                "i3d_torchscript.pt that StyleGAN-V uses."
            )

    def prepare(self, clip: Clip) -> Tensor:
        """Lay out a clip as (3, T, H, W) uint8 as decoded, or resized as (3, T, 224, 224) float32 in [0, 255].

        Raises:
            UserError: If there are fewer than 9 frames.
        """
        require_frames(len(clip.pixels), f"clip `{clip.id}`: ")
        return network_input(clip.pixels, self.resize)

    def forward(self, prepared: Tensor) -> Tensor:
        """Compute logits: (N, 3, T, H, W) → (N, 1, 400)."""
        features = self.network(prepared, rescale=True, resize=self.resize is None, return_features=True)
        return clip_rows(features, "I3D")[:, None]


@dataclass(frozen=True)
class TorchScriptI3DSettings(WeightFileSettings):
    """Settings of `TorchScriptI3D`."""

    kind = "i3d-torchscript"
    network = TorchScriptI3D

    def open(self, path: Path) -> Extractor:
        """Load the network."""
        return TorchScriptI3D(path, self.resizer())

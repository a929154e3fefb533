"""I3D as the TorchScript file of StyleGAN-V: the usual network of FVD."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import ClipFeatures, Extractor
from evaluation.extractors.torchscript import clip_rows, load_torchscript, network_input
from evaluation.extractors.weight_file import WeightFileSettings
from evaluation.resize import Resize
from mav_lightning.common.errors import UserError

__all__ = ["TorchScriptI3D", "TorchScriptI3DSettings"]

_ARGUMENTS = ("rescale", "resize", "return_features")
_FRAMES = 9  # pooled to 2, which the last pooling spans


class TorchScriptI3D(ClipFeatures):
    """``i3d_torchscript.pt``: the I3D of the first FVD, in StyleGAN-V's port; 400 logits of Kinetics a clip.

    The file scales 0..255 to [-1, 1] by itself, and optionally resizes. It is called as StyleGAN-V calls it,
    ``network(x, rescale=True, resize=..., return_features=True)``.

    References:
        StyleGAN-V (Skorokhodov et al., 2022), appendix on FVD. https://arxiv.org/abs/2112.14683

    Args:
        path: The TorchScript file.
        resize: To 224 pixels; None leaves it to the file, as StyleGAN-V does, and needs clips of one size.

    Raises:
        UserError: No such file, no TorchScript, or one that does not take these arguments.
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
        """(3, T, H, W) uint8 as decoded, or (3, T, 224, 224) float32 in [0, 255] after a resize.

        Raises:
            UserError: Fewer than 9 frames.
        """
        if len(clip.pixels) < _FRAMES:
            raise UserError(
                f"clip `{clip.id}`: I3D needs {_FRAMES} frames, got {len(clip.pixels)}; take 16, as is usual."
            )
        return network_input(clip.pixels, self.resize)

    def forward(self, prepared: Tensor) -> Tensor:
        """Logits: (N, 3, T, H, W) → (N, 1, 400)."""
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

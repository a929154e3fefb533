"""Any classifier of clips as a TorchScript file, for the inception score."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import ClipProbabilities, Extractor
from evaluation.extractors.torchscript import clip_rows, load_torchscript, network_input
from evaluation.extractors.weight_file import WeightFileSettings
from evaluation.resize import Resize
from mav_lightning.common.errors import UserError

__all__ = ["TorchScriptClassifier", "TorchScriptClassifierSettings"]

_SUM_TOLERANCE = 1e-3


class TorchScriptClassifier(ClipProbabilities):
    """Any classifier of videos, for the inception score; such as ``c3d_ucf101.pt``, StyleGAN-V's port of TGANv2's C3D.

    That file takes 16 frames (N, 3, 16, H, W) in 0..255 without further arguments, resizes them to 112 x 112 and
    subtracts a mean by itself, and gives probabilities over 101 classes.

    References:
        Train Sparsely, Generate Densely (Saito et al., 2020), §5. https://arxiv.org/abs/1811.09245

    Args:
        path: The TorchScript file.
        resize: None leaves it to the file, and needs clips of one size.
        logits: The file gives logits; their softmax is taken here.

    Raises:
        UserError: No such file, or no TorchScript.
    """

    def __init__(self, path: Path, resize: Resize | None = None, logits: bool = False) -> None:
        super().__init__()
        self.network, self.resize, self.logits = load_torchscript(path), resize, logits

    def prepare(self, clip: Clip) -> Tensor:
        """(3, T, H, W) uint8 as decoded, or (3, T, size, size) float32 in [0, 255] after a resize."""
        return network_input(clip.pixels, self.resize)

    def forward(self, prepared: Tensor) -> Tensor:
        """Probabilities: (N, 3, T, H, W) → (N, 1, classes).

        Raises:
            UserError: The file gives logits where it should give probabilities, or the other way round.
        """
        found = clip_rows(self.network(prepared), "the classifier")
        told = found[found.isfinite().all(dim=1)]  # clips without are named where clips are known
        if len(told) and self.logits == _are_probabilities(told):
            kind, setting = ("logits", "False") if self.logits else ("probabilities", "True")
            raise UserError(
                f"the classifier's outputs are no {kind}: {told.shape[1]} values from {told.min():.4g} to "
                f"{told.max():.4g}, the first row sums to {told[0].sum():.4g}; set logits={setting}."
            )
        return (found.softmax(dim=1) if self.logits else found)[:, None]


@dataclass(frozen=True)
class TorchScriptClassifierSettings(WeightFileSettings):
    """Settings of `TorchScriptClassifier`.

    Attributes:
        logits: Whether the file returns logits instead of probabilities.
    """

    kind = "classifier-torchscript"
    network = TorchScriptClassifier

    logits: bool = False

    def open(self, path: Path) -> Extractor:
        """Load the network."""
        return TorchScriptClassifier(path, self.resizer(), self.logits)


def _are_probabilities(rows: Tensor) -> bool:
    return bool((rows >= 0).all() and ((rows.sum(dim=1) - 1).abs() <= _SUM_TOLERANCE).all())

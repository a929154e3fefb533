"""A classifier of clips as a TorchScript file, for the inception score."""

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
    """Classifier of clips in a TorchScript file, for example ``c3d_ucf101.pt``, StyleGAN-V's port of TGANv2's C3D.

    That file takes clips (N, 3, 16, H, W) in 0..255 and no other argument, resizes them to 112 x 112, subtracts a mean
    and returns probabilities of 101 classes.

    References:
        Train Sparsely, Generate Densely (Saito et al., 2020), §5. https://arxiv.org/abs/1811.09245

    Args:
        path: The TorchScript file.
        resize: Resizing of frames. None leaves it to the file, which then needs clips of one size.
        logits: Whether the file returns logits, whose softmax is taken here, instead of probabilities.

    Raises:
        UserError: If the file is missing or is not TorchScript.
    """

    def __init__(self, path: Path, resize: Resize | None = None, logits: bool = False) -> None:
        super().__init__()
        self.network, self.resize, self.logits = load_torchscript(path), resize, logits

    def prepare(self, clip: Clip) -> Tensor:
        """Lay out a clip as (3, T, H, W) uint8 as decoded, or resized as (3, T, size, size) float32 in [0, 255]."""
        return network_input(clip.pixels, self.resize)

    def forward(self, prepared: Tensor) -> Tensor:
        """Compute probabilities: (N, 3, T, H, W) → (N, 1, classes).

        Raises:
            UserError: If the file returns logits although `logits` is False, or probabilities although it is True.
        """
        found = clip_rows(self.network(prepared), "the classifier")
        finite = found[found.isfinite().all(dim=1)]  # the caller, who knows the clips, names the others
        if len(finite) and self.logits == _are_probabilities(finite):
            kind, setting = ("logits", "False") if self.logits else ("probabilities", "True")
            raise UserError(
                f"the classifier's outputs are not {kind}: {finite.shape[1]} values from {finite.min():.4g} to "
                f"{finite.max():.4g}, the first row sums to {finite[0].sum():.4g}; set logits={setting}."
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

"""Extractors whose network is a TorchScript file that the user brings: I3D, C3D and FID's Inception.

The files hold code as well as weights: load only those whose hash is known.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluation.clip_sources import Clip, Frames
from evaluation.extractors.base import Extractor
from evaluation.resize import Resize, check_frames
from mav_lightning.common.errors import UserError

__all__ = ["Inception", "TorchScriptClassifier", "TorchScriptI3D"]

INCEPTION_FILE = "inception-2015-12-05.pt"  # clean-fid looks for no other name
_I3D_ARGUMENTS = ("rescale", "resize", "return_features")
_I3D_FRAMES = 9  # pooled to 2, which the last pooling spans
_SUM_TOLERANCE = 1e-3
_IMAGES = 32  # at once through Inception


class TorchScriptI3D(Extractor):
    """``i3d_torchscript.pt``: the I3D of the first FVD, in StyleGAN-V's port; 400 logits of Kinetics a clip.

    The file scales 0..255 to [-1, 1] by itself, and resizes too if it is told. It is called as StyleGAN-V calls it,
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
        self.network, self.resize = _load(path), resize
        taken = [argument.name for argument in self.network.forward.schema.arguments[1:]]
        if missing := [name for name in _I3D_ARGUMENTS if name not in taken]:
            raise UserError(
                f"{path}: this network takes ({', '.join(taken)}), without {', '.join(missing)}; give the "
                "i3d_torchscript.pt that StyleGAN-V uses."
            )

    def prepare(self, clip: Clip) -> Tensor:
        """(3, T, H, W) uint8 as decoded, or (3, T, 224, 224) float32 in [0, 255] after a resize.

        Raises:
            UserError: Fewer than 9 frames.
        """
        if len(clip.pixels) < _I3D_FRAMES:
            raise UserError(
                f"clip `{clip.id}`: I3D needs {_I3D_FRAMES} frames, got {len(clip.pixels)}; take 16, as is usual."
            )
        return _video(clip.pixels, self.resize)

    def forward(self, prepared: Tensor) -> Tensor:
        """Logits: (N, 3, T, H, W) → (N, 1, 400)."""
        features = self.network(prepared, rescale=True, resize=self.resize is None, return_features=True)
        return _rows(features, "I3D")[:, None]


class TorchScriptClassifier(Extractor):
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
        self.network, self.resize, self.logits = _load(path), resize, logits

    def prepare(self, clip: Clip) -> Tensor:
        """(3, T, H, W) uint8 as decoded, or (3, T, size, size) float32 in [0, 255] after a resize."""
        return _video(clip.pixels, self.resize)

    def forward(self, prepared: Tensor) -> Tensor:
        """Probabilities: (N, 3, T, H, W) → (N, 1, classes).

        Raises:
            UserError: The file gives logits where it should give probabilities, or the other way round.
        """
        found = _rows(self.network(prepared), "the classifier")
        told = found[found.isfinite().all(dim=1)]  # clips without are named where clips are known
        if len(told) and self.logits == _are_probabilities(told):
            kind, setting = ("logits", "False") if self.logits else ("probabilities", "True")
            raise UserError(
                f"the classifier's outputs are no {kind}: {told.shape[1]} values from {told.min():.4g} to "
                f"{told.max():.4g}, the first row sums to {told[0].sum():.4g}; set logits={setting}."
            )
        return (found.softmax(dim=1) if self.logits else found)[:, None]


class Inception(Extractor):
    """The Inception of FID in clean-fid's own wrapper, one row a frame.

    The wrapper takes values in [0, 255], maps x to (x - 128) / 128, and resizes nothing.

    References:
        GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017), §4. https://arxiv.org/abs/1706.08500

    Args:
        path: ``inception-2015-12-05.pt``, the port that StyleGAN2-ADA published. Nothing is downloaded.
        resize: To 299 pixels; ``clean-bicubic`` gives clean-fid's FID.

    Raises:
        UserError: No such file, another name, or not that TorchScript.
    """

    def __init__(self, path: Path, resize: Resize) -> None:
        super().__init__()
        if path.name != INCEPTION_FILE:
            raise UserError(f"{path}: clean-fid looks for `{INCEPTION_FILE}` alone; rename the file or link it so.")
        from cleanfid.inception_torchscript import InceptionV3W  # here, as it takes a while

        if not hasattr(_load(path), "layers"):
            raise UserError(f"{path}: this network has no `layers`; give NVIDIA's port of Inception, {INCEPTION_FILE}.")
        self.network = _frozen(InceptionV3W(str(path.parent), download=False, resize_inside=False).eval())
        self.resize = resize

    def prepare(self, clip: Clip) -> Tensor:
        """(T, 3, 299, 299) float32 in [0, 255].

        Raises:
            UserError: Resized to anything else.
        """
        frames = self.resize(clip.pixels)
        if frames.shape[-2:] != (299, 299):
            height, width = frames.shape[-2:]
            raise UserError(f"Inception sees 299 x 299 pixels, got {height} x {width}; give a resizer of size 299.")
        return frames

    def forward(self, prepared: Tensor) -> Tensor:
        """Features: (N, T, 3, 299, 299) → (N, T, 2048)."""
        images = prepared.flatten(0, 1).split(_IMAGES)
        return torch.cat([self.network(part) for part in images]).float().unflatten(0, prepared.shape[:2])


def _load(path: Path) -> Any:
    """The network, in evaluation mode on the CPU; `Any`, as only the file knows what it takes."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; nothing is downloaded, so bring it and give its path.")
    try:
        network = torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        raise UserError(
            f"{path}: no TorchScript file ({str(error).splitlines()[0]}); give one that torch.jit.save wrote, not a "
            "state dict."
        ) from error
    return _frozen(network)


def _frozen(network: nn.Module) -> Any:
    for weight in network.parameters():  # one by one, as `requires_grad_` of a script module raises
        weight.requires_grad_(False)
    return network


def _video(frames: Frames, resize: Resize | None) -> Tensor:
    """(T, H, W, 3) → (3, T, h, w): still uint8 without a resize, as the files were given by those who made them."""
    if resize is not None:
        return resize(frames).transpose(0, 1).contiguous()
    check_frames(frames)
    return torch.tensor(frames).movedim(-1, 0).contiguous()


def _rows(features: Tensor, name: str) -> Tensor:
    if not isinstance(features, Tensor) or features.ndim != 2:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UserError(f"{name} must give one row a clip, (N, d), got {found}; give a file that does.")
    return features.float()


def _are_probabilities(rows: Tensor) -> bool:
    return bool((rows >= 0).all() and ((rows.sum(dim=1) - 1).abs() <= _SUM_TOLERANCE).all())

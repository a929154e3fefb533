"""I3D in PyTorch, for published state dicts of converted Kinetics-400 weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import ClipFeatures, Extractor
from evaluation.extractors.i3d_network import EPSILON, I3DNetwork, require_frames, state_dict_of
from evaluation.extractors.weight_file import WeightFileSettings
from evaluation.resize import Resize
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat

__all__ = ["I3D", "I3DSettings"]


class I3D(ClipFeatures):
    """Logits of Kinetics-400 before the softmax, averaged over time, one row per clip: the features of FVD.

    References:
        Towards Accurate Generative Models of Video (Unterthiner et al., 2018), §3. https://arxiv.org/abs/1812.01717

    Args:
        network: The network, in evaluation mode.
        resize: Resizing of frames, to 224 pixels as in training; no published number uses other sizes.
    """

    def __init__(self, network: I3DNetwork, resize: Resize) -> None:
        super().__init__()
        self.network, self.resize = network, resize

    @classmethod
    def from_file(cls, path: Path, resize: Resize, epsilon: float = EPSILON) -> "I3D":
        """Load a state dict in one of the layouts of `state_dict_of`. No code in the file is run.

        Args:
            path: File, ``.safetensors`` or written by `torch.save`.
            resize: Resizing of frames.
            epsilon: Epsilon of batch normalization, see `I3DNetwork`.

        Raises:
            UserError: If the file is missing or holds no state dict of an RGB I3D with 400 classes.
        """
        with torch.device("meta"):  # its weights are those of the file
            network = I3DNetwork(epsilon)
        try:
            network.load_state_dict(state_dict_of(_read(path)), assign=True)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        return cls(network.eval().requires_grad_(False), resize)

    def prepare(self, clip: Clip) -> Tensor:
        """Resize frames: (T, 3, h, w) float32 in [0, 255].

        Raises:
            UserError: If there are fewer than 9 frames.
        """
        require_frames(len(clip.pixels), f"clip `{clip.id}`: ")
        return self.resize(clip.pixels)

    def forward(self, prepared: Tensor) -> Tensor:
        """Compute logits: (N, T, 3, h, w) in [0, 255] → (N, 1, 400) float32."""
        clips = rearrange(prepared, "n t c h w -> n c t h w")
        logits: Tensor = self.network(2 * clips / 255 - 1).float()[:, None]
        return logits


@dataclass(frozen=True)
class I3DSettings(WeightFileSettings):
    """Settings of `I3D`.

    Attributes:
        epsilon: Added to the variance in batch normalization; ports of I3D differ in it.
    """

    kind = "i3d"
    network = I3D

    epsilon: PositiveFloat = EPSILON

    def open(self, path: Path) -> Extractor:
        """Load the network."""
        return I3D.from_file(path, self.required_resizer(), self.epsilon)


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise UserError("no such file; `mav weights list` shows known weights and where to get them.")
    try:
        found = _loaded(path)
    except Exception as error:  # a damaged pickle can raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"not a file of tensors only ({reason}); provide a state dict, not TorchScript.") from error
    if not _is_state_dict(found):
        raise UserError(f"not a state dict but a {type(found).__name__}; provide one of names and tensors only.")
    return found


def _is_state_dict(found: object) -> TypeGuard[Mapping[str, Tensor]]:
    return isinstance(found, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    )


def _loaded(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)

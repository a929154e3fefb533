"""I3D in PyTorch, for the converted Kinetics-400 weights that circulate as state dicts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """Logits of Kinetics-400 before the softmax, averaged over time: what FVD is computed on; one row a clip.

    References:
        Towards Accurate Generative Models of Video (Unterthiner et al., 2018), §3. https://arxiv.org/abs/1812.01717

    Args:
        network: In evaluation mode.
        resize: To 224 pixels, as the network was trained; other sizes work, but no published number has them.
    """

    def __init__(self, network: I3DNetwork, resize: Resize) -> None:
        super().__init__()
        self.network, self.resize = network, resize

    @classmethod
    def from_file(cls, path: Path, resize: Resize, epsilon: float = EPSILON) -> "I3D":
        """Loads a state dict in one of the layouts that `state_dict_of` knows; no code in the file is run.

        Args:
            path: ``.safetensors``, or anything else for what `torch.save` wrote.
            resize: See the class.
            epsilon: Of batch normalisation, see `I3DNetwork`.

        Raises:
            UserError: No such file, not a state dict, or not that of an RGB I3D with 400 classes.
        """
        network = I3DNetwork(epsilon)
        try:
            network.load_state_dict(state_dict_of(_read(path)))
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        return cls(network.eval().requires_grad_(False), resize)

    def prepare(self, clip: Clip) -> Tensor:
        """Resized frames: (T, 3, h, w) float32 in [0, 255].

        Raises:
            UserError: Fewer than 9 frames.
        """
        require_frames(len(clip.pixels), f"clip `{clip.id}`: ")
        return self.resize(clip.pixels)

    def forward(self, prepared: Tensor) -> Tensor:
        """Logits: (N, T, 3, h, w) in [0, 255] → (N, 1, 400) float32."""
        clips = rearrange(prepared, "n t c h w -> n c t h w")
        return self.network(2 * clips / 255 - 1).float()[:, None]


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
        raise UserError(f"not readable as tensors alone ({reason}); give a state dict, no TorchScript.") from error
    entries = found.items() if isinstance(found, Mapping) else ((None, None),)
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in entries):
        raise UserError(f"holds no state dict but a {type(found).__name__}; give one of names and tensors alone.")
    return found


def _loaded(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)

"""I3D as plain PyTorch, for the converted weights of Kinetics-400 that circulate as state dicts."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Extractor
from evaluation.resize import Resize
from mav_lightning.common.errors import UserError

__all__ = ["CLASSES", "FEWEST_FRAMES", "I3D", "I3DNetwork", "state_dict_of"]

CLASSES = 400
FEWEST_FRAMES = 9  # halved three times, rounding up, they leave the 2 steps that the last pooling spans
EPSILON = 1e-3  # of batch normalisation, as in the original

# Before what and how the maxima are taken: kernel and stride along time, height and width.
_POOLS = {
    "Conv3d_2b_1x1": ("MaxPool3d_2a_3x3", (1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ("MaxPool3d_3a_3x3", (1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ("MaxPool3d_4a_3x3", (3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ("MaxPool3d_5a_2x2", (2, 2, 2), (2, 2, 2)),
}
# Channels of an Inception block's branches: 1x1; 1x1 then 3x3; 1x1 then 3x3; pooling then 1x1.
_INCEPTION = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# What kinetics_i3d_pytorch calls the parts of a name; the rest it writes in lower case.
_OTHER_NAMES = {
    "b0": "branch_0", "b1a": "branch_1.0", "b1b": "branch_1.1", "b2a": "branch_2.0", "b2b": "branch_2.1",
    "b3b": "branch_3.1", "bn": "batch3d", "logits": "conv3d_0c_1x1",
}  # fmt: skip


class I3D(Extractor):
    """Logits of Kinetics-400 before the softmax, averaged over time: what FVD is computed on; one row a clip.

    References:
        Towards Accurate Generative Models of Video (Unterthiner et al., 2018), §3. https://arxiv.org/abs/1812.01717

    Args:
        network: In evaluation mode.
        resize: To 224 pixels, as the network was trained; other sizes work, but no published number has them.
    """

    def __init__(self, network: "I3DNetwork", resize: Resize) -> None:
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
        _demand_frames(len(clip.pixels), f"clip `{clip.id}`: ")
        return self.resize(clip.pixels)

    def forward(self, prepared: Tensor) -> Tensor:
        """Logits: (N, T, 3, h, w) in [0, 255] → (N, 1, 400) float32."""
        return self.network(2 * prepared.transpose(1, 2) / 255 - 1).float()[:, None]


class I3DNetwork(nn.Sequential):
    """Inception-v1 with its kernels inflated to three dimensions, on RGB.

    It computes what the original in TensorFlow does: every convolution and pooling pads as ``SAME``, with the smaller
    half in front. The ports differ from one another in three ways:

    - Weights: ``rgb_imagenet.pt`` (pytorch-i3d) and ``model_rgb.pth`` (kinetics_i3d_pytorch) are the checkpoint that
      the paper's authors released; ``i3d_pretrained_400.pt`` (TATS, VideoGPT) and ``i3d_torchscript.pt`` (StyleGAN-V)
      are TensorFlow Hub's ``i3d-kinetics-400``, whose weights are others, and which FVD was defined on.
    - Batch normalisation: VideoGPT and those who took its code, such as cd-fvd and torchmetrics, use an epsilon of
      1e-5 with the latter weights; the original, pytorch-i3d and, since 2020, kinetics_i3d_pytorch use 1e-3.
    - Padding: kinetics_i3d_pytorch pads its poolings as if all sizes were even, which they are for 16 frames of
      224 x 224. With other numbers of frames its numbers differ from the original's, hence from these.

    References:
        Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset (Carreira & Zisserman, 2017), fig. 3.
        https://arxiv.org/abs/1705.07750
        Going Deeper with Convolutions (Szegedy et al., 2015), table 1. https://arxiv.org/abs/1409.4842

    Args:
        epsilon: Of batch normalisation.
    """

    def __init__(self, epsilon: float = EPSILON) -> None:
        super().__init__()
        for name, layer in _layers(epsilon):
            self.add_module(name, layer)

    def forward(self, input: Tensor) -> Tensor:
        """Logits averaged over time: (N, 3, T, H, W) in [-1, 1] → (N, 400).

        Pooling takes in all that is left of height and width: 7 x 7 at 224 pixels, as in the paper.

        Raises:
            UserError: Fewer than 9 frames.
        """
        _demand_frames(input.shape[2])
        return super().forward(input).mean(dim=(2, 3, 4))


def state_dict_of(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of an `I3DNetwork`, float32, out of a state dict in either layout.

    Known are pytorch-i3d's names (``Mixed_3b.b1a.conv3d.weight``), which are ours, and kinetics_i3d_pytorch's
    (``mixed_3b.branch_1.0.conv3d.weight``). Every weight must be there, and nothing else may; only
    ``num_batches_tracked``, which evaluation does not use, is dropped.

    Raises:
        UserError: Neither layout; or missing, unknown or wrongly shaped weights: how many, and the first of each.
    """
    shapes = _shapes()
    keys = {key for key in found if not key.endswith(".num_batches_tracked")}
    layouts = ({key: key for key in shapes}, {_other_name(key): key for key in shapes})
    layout = max(layouts, key=lambda layout: len(layout.keys() & keys))  # their name → ours
    if not layout.keys() & keys:
        raise UserError(
            f"no I3D: none of its weights is among {', '.join(f'`{key}`' for key in sorted(keys)[:3]) or 'nothing'}; "
            "give rgb_imagenet.pt, i3d_pretrained_400.pt or model_rgb.pth."
        )
    misfits = {
        f"`{theirs}` of shape {tuple(found[theirs].shape)} instead of {tuple(shapes[ours])}"
        for theirs, ours in layout.items()
        if theirs in keys and found[theirs].shape != shapes[ours]
    }
    problems = {
        "missing": {f"`{key}`" for key in layout.keys() - keys},
        "unknown": {f"`{key}`" for key in keys - layout.keys()},
        "wrongly shaped": misfits,
    }
    if told := [f"{len(names)} {kind}, first {min(names)}" for kind, names in problems.items() if names]:
        raise UserError(f"no RGB I3D of {CLASSES} classes: {'; '.join(told)}; get the file again, or the right one.")
    return {ours: found[theirs].float() for theirs, ours in layout.items()}


class _Unit(nn.Module):
    """Convolution, batch normalisation, rectification."""

    def __init__(self, inputs: int, outputs: int, kernel: int, epsilon: float, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(_padded(x, self.conv3d.kernel_size, self.conv3d.stride))))


class _MaxPool(nn.Module):
    def __init__(self, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        self.kernel, self.stride = tuple(kernel), tuple(stride)

    def forward(self, x: Tensor) -> Tensor:
        # TensorFlow leaves the padding out; zeros never win either, as all that is pooled has been rectified
        return F.max_pool3d(_padded(x, self.kernel, self.stride), self.kernel, self.stride)


class _Mixed(nn.Module):
    """An Inception block; its second 3x3 stands where Inception-v1 has a 5x5."""

    def __init__(self, inputs: int, widths: Sequence[int], epsilon: float) -> None:
        super().__init__()
        self.b0 = _Unit(inputs, widths[0], 1, epsilon)
        self.b1a, self.b1b = _Unit(inputs, widths[1], 1, epsilon), _Unit(widths[1], widths[2], 3, epsilon)
        self.b2a, self.b2b = _Unit(inputs, widths[3], 1, epsilon), _Unit(widths[3], widths[4], 3, epsilon)
        self.b3a, self.b3b = _MaxPool((3, 3, 3), (1, 1, 1)), _Unit(inputs, widths[5], 1, epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


class _AveragePool(nn.Module):
    """Means of all height and width over two steps each, so that the outer steps count half."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool3d(x, (2, *x.shape[-2:]), stride=1)


class _Logits(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3d(x)


def _layers(epsilon: float) -> Iterator[tuple[str, nn.Module]]:
    """The network by the names of the original."""
    yield "Conv3d_1a_7x7", _Unit(3, 64, 7, epsilon, stride=2)
    yield _pool_before("Conv3d_2b_1x1")
    yield "Conv3d_2b_1x1", _Unit(64, 64, 1, epsilon)
    yield "Conv3d_2c_3x3", _Unit(64, 192, 3, epsilon)
    channels = 192
    for name, widths in _INCEPTION.items():
        if name in _POOLS:
            yield _pool_before(name)
        yield name, _Mixed(channels, widths, epsilon)
        channels = widths[0] + widths[2] + widths[4] + widths[5]
    yield "average", _AveragePool()
    yield "logits", _Logits(channels)


def _pool_before(name: str) -> tuple[str, nn.Module]:
    pool, kernel, stride = _POOLS[name]
    return pool, _MaxPool(kernel, stride)


def _padded(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """TensorFlow's ``SAME``: zeros until there are ceil(size / stride) steps, an odd one behind."""
    amounts: list[int] = []
    for size, width, step in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):  # F.pad begins at the end
        total = max((-(-size // step) - 1) * step + width - size, 0)
        amounts += [total // 2, total - total // 2]
    return F.pad(x, amounts) if any(amounts) else x


def _demand_frames(frames: int, whose: str = "") -> None:
    if frames < FEWEST_FRAMES:
        raise UserError(f"{whose}I3D needs at least {FEWEST_FRAMES} frames, got {frames}; take 16, as FVD does.")


@lru_cache
def _shapes() -> dict[str, torch.Size]:
    with torch.device("meta"):
        weights = I3DNetwork().state_dict()
    return {key: value.shape for key, value in weights.items() if not key.endswith(".num_batches_tracked")}


def _other_name(key: str) -> str:
    return ".".join(_OTHER_NAMES.get(part, part.lower()) for part in key.split("."))


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise UserError("no such file; `mav weights list` tells which are known and where to get them.")
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

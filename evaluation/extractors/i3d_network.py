"""The I3D network in PyTorch, and the layouts of its published state dicts."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mav_lightning.common.errors import UserError

__all__ = ["CLASSES", "EPSILON", "FEWEST_FRAMES", "I3DNetwork", "require_frames", "state_dict_of"]

CLASSES = 400
FEWEST_FRAMES = 9  # halved three times, rounding up, they leave the 2 steps of the last pooling
EPSILON = 1e-3  # of batch normalization, as in the original

# Layer → max pooling before it: name, kernel and stride along time, height and width.
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
# Part of a name → its name in kinetics_i3d_pytorch; all others are lower case there.
_OTHER_NAMES = {
    "b0": "branch_0", "b1a": "branch_1.0", "b1b": "branch_1.1", "b2a": "branch_2.0", "b2b": "branch_2.1",
    "b3b": "branch_3.1", "bn": "batch3d", "logits": "conv3d_0c_1x1",
}  # fmt: skip


class I3DNetwork(nn.Sequential):
    """Inception-v1 with its kernels inflated to three dimensions, on RGB.

    It computes what the original in TensorFlow does: every convolution and pooling pads as ``SAME``, with the smaller
    half in front. The ports differ from one another in three ways:

    - Weights: ``rgb_imagenet.pt`` (pytorch-i3d) and ``model_rgb.pth`` (kinetics_i3d_pytorch) hold the checkpoint
      released by the paper's authors. ``i3d_pretrained_400.pt`` (TATS, VideoGPT) and ``i3d_torchscript.pt``
      (StyleGAN-V) are TensorFlow Hub's ``i3d-kinetics-400``, other weights, on which FVD was defined.
    - Batch normalization: VideoGPT and code derived from it, such as cd-fvd and torchmetrics, use an epsilon of
      1e-5 with the latter weights; the original, pytorch-i3d and, since 2020, kinetics_i3d_pytorch use 1e-3.
    - Padding: kinetics_i3d_pytorch pads its poolings as if all sizes were even, which they are for 16 frames of
      224 x 224. With other numbers of frames its numbers differ from the original's and from these.

    References:
        Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset (Carreira & Zisserman, 2017), fig. 3.
        https://arxiv.org/abs/1705.07750
        Going Deeper with Convolutions (Szegedy et al., 2015), table 1. https://arxiv.org/abs/1409.4842

    Args:
        epsilon: Epsilon of batch normalization.
    """

    def __init__(self, epsilon: float = EPSILON) -> None:
        super().__init__()
        for name, layer in _layers(epsilon):
            self.add_module(name, layer)

    def forward(self, input: Tensor) -> Tensor:
        """Compute logits averaged over time: (N, 3, T, H, W) in [-1, 1] → (N, 400).

        The last pooling covers all of height and width: 7 x 7 at 224 pixels, as in the paper.

        Raises:
            UserError: If there are fewer than 9 frames.
        """
        require_frames(input.shape[2])
        for layer in self:
            input = layer(input)
        return input.mean(dim=(2, 3, 4))


def state_dict_of(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict in either layout to that of an `I3DNetwork`, float32.

    The layouts are pytorch-i3d's (``Mixed_3b.b1a.conv3d.weight``), which is used here, and kinetics_i3d_pytorch's
    (``mixed_3b.branch_1.0.conv3d.weight``). Keys must match exactly, except ``num_batches_tracked``, which is dropped.

    Raises:
        UserError: If the layout is another, or weights are missing, unknown or of wrong shape.
    """
    shapes = _shapes()
    keys = {key for key in found if not key.endswith(".num_batches_tracked")}
    layouts = ({key: key for key in shapes}, {_other_name(key): key for key in shapes})
    layout = max(layouts, key=lambda layout: len(layout.keys() & keys))  # their name → ours
    if not layout.keys() & keys:
        raise UserError(
            "not an I3D: none of its weights is among "
            f"{', '.join(f'`{key}`' for key in sorted(keys)[:3]) or 'nothing'}; give rgb_imagenet.pt, "
            "i3d_pretrained_400.pt or model_rgb.pth."
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
    if details := [f"{len(names)} {kind}, first {min(names)}" for kind, names in problems.items() if names]:
        raise UserError(f"not an RGB I3D of {CLASSES} classes: {'; '.join(details)}; download the right file.")
    return {ours: found[theirs].float() for theirs, ours in layout.items()}


class _Unit(nn.Module):
    """Convolution, batch normalization, ReLU."""

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
        # TensorFlow ignores padding; zero padding is equivalent, since all inputs passed a ReLU
        return F.max_pool3d(_padded(x, self.kernel, self.stride), self.kernel, self.stride)


class _Mixed(nn.Module):
    """An Inception block; its second 3x3 replaces the 5x5 of Inception-v1."""

    def __init__(self, inputs: int, widths: Sequence[int], epsilon: float) -> None:
        super().__init__()
        self.b0 = _Unit(inputs, widths[0], 1, epsilon)
        self.b1a, self.b1b = _Unit(inputs, widths[1], 1, epsilon), _Unit(widths[1], widths[2], 3, epsilon)
        self.b2a, self.b2b = _Unit(inputs, widths[3], 1, epsilon), _Unit(widths[3], widths[4], 3, epsilon)
        self.b3a, self.b3b = _MaxPool((3, 3, 3), (1, 1, 1)), _Unit(inputs, widths[5], 1, epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


class _AveragePool(nn.Module):
    """Average over height, width and two adjacent time steps, so that the outer steps count half."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool3d(x, (2, *x.shape[-2:]), stride=1)


class _Logits(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.conv3d(x)
        return logits


def _layers(epsilon: float) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers under the names of the original."""
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
    """Pad as TensorFlow's ``SAME``: zeros for ceil(size / stride) outputs, an odd one at the end."""
    amounts: list[int] = []
    for size, width, step in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):  # F.pad begins at the end
        total = max((-(-size // step) - 1) * step + width - size, 0)
        amounts += [total // 2, total - total // 2]
    return F.pad(x, amounts) if any(amounts) else x


def require_frames(frames: int, clip: str = "") -> None:
    """Check the number of frames.

    Args:
        frames: Number of frames.
        clip: Prefix of the message that names the clip; empty for none.

    Raises:
        UserError: If there are fewer than 9 frames.
    """
    if frames < FEWEST_FRAMES:
        raise UserError(f"{clip}I3D needs at least {FEWEST_FRAMES} frames, got {frames}; take 16, as FVD does.")


@lru_cache
def _shapes() -> dict[str, torch.Size]:
    with torch.device("meta"):
        weights = I3DNetwork().state_dict()
    return {key: value.shape for key, value in weights.items() if not key.endswith(".num_batches_tracked")}


def _other_name(key: str) -> str:
    return ".".join(_OTHER_NAMES.get(part, part.lower()) for part in key.split("."))

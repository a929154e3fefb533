"""The certificate of a space-time network: what it must equal before its first step.

Make-A-Video grows an image network by temporal layers that start as the identity, so at initialisation a clip must be
exactly its frames (§3.2). The claim is checked in float64 with every spatial weight randomised, as a network whose
output starts at zero would pass any comparison.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mav_lightning.modules.transfer import is_temporal

__all__ = ["TOLERANCE", "Certificate", "certify_frames", "certify_parent"]

TOLERANCE = 1e-12  # relative to the largest output, float64
_BATCH, _FRAMES = 2, 3


@dataclass(frozen=True)
class Certificate:
    """What a comparison found.

    Attributes:
        error: Largest difference, relative to the largest value.
        layer: The first layer, in the order they ran, whose output differed; None if none did.
        size: Side of the frames compared, in pixels.
    """

    error: float
    layer: str | None
    size: int

    @property
    def holds(self) -> bool:
        """Whether the two are equal to rounding."""
        return self.error <= TOLERANCE


def certify_frames(denoiser: nn.Module, size: int, cond_channels: int) -> Certificate:
    """Compares a denoiser on clips with itself on their frames.

    Args:
        denoiser: With temporal layers as they were initialised; ``denoiser(x, sigma, cond, fps)``. It is changed:
            spatial weights are randomised, everything is float64 afterwards.
        size: Smallest legal side of a frame, in pixels.
        cond_channels: Length of an image embedding.
    """
    denoiser = denoiser.double().eval()
    _randomise_spatial(denoiser)
    return _compare(denoiser, denoiser, size, cond_channels, frame_by_frame=True)


def certify_parent(child: nn.Module, parent: nn.Module, size: int, cond_channels: int) -> Certificate:
    """Compares a denoiser on clips with the parent it was cut from, weights as they are.

    With an image denoiser as parent it compares frame by frame, with one of clips the clips themselves. Channels that
    the child alone sees are filled with noise.

    Args:
        child: The denoiser after the transfer of weights; float64 afterwards.
        parent: The denoiser of images or of clips; float64 afterwards.
        size: Side of the frames, in pixels.
        cond_channels: Length of an image embedding.
    """
    of_images = not any(is_temporal(name) for name, _ in parent.named_parameters())
    return _compare(child.double().eval(), parent.double().eval(), size, cond_channels, frame_by_frame=of_images)


@torch.no_grad()
def _compare(on_clips: nn.Module, other: nn.Module, size: int, cond_channels: int, frame_by_frame: bool) -> Certificate:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    clips, cond = draw(_BATCH, 3, _FRAMES, size, size), draw(_BATCH, cond_channels)
    sigma, fps = draw(_BATCH).exp(), torch.linspace(3.0, 20.0, _BATCH, dtype=torch.float64)
    given = draw(_BATCH, _further_channels(on_clips), _FRAMES, size, size)
    seen = given[:, : _further_channels(other)]
    with _outputs(on_clips) as of_clips:
        whole = on_clips(clips, sigma, cond, fps, given).clean
    alone, expected = [], defaultdict(list)
    if frame_by_frame:  # one at a time: in a batch, a layer could mix frames unnoticed
        for clip, frame in itertools.product(range(_BATCH), range(_FRAMES)):
            own = slice(clip, clip + 1)
            with _outputs(other) as of_frame:
                alone.append(other(clips[own, :, frame], sigma[own], cond[own], given=seen[own, :, frame]).clean)
            for name, value in of_frame.items():
                expected[name].append(value)
    else:
        with _outputs(other) as of_parent:
            alone.append(_by_frame(other(clips, sigma, cond, fps, seen).clean))
        expected.update({name: [_by_frame(value)] for name, value in of_parent.items()})
    error = _difference(_by_frame(whole), torch.cat(alone))
    layer = None
    if error > TOLERANCE:
        shared = ((name, value, torch.cat(expected[name])) for name, value in of_clips.items() if name in expected)
        layer = next((name for name, clip, frames in shared if _differs(clip, frames)), "the output")
    return Certificate(error, layer, size)


def _further_channels(denoiser: nn.Module) -> int:
    """Channels a denoiser of RGB sees beside the noisy pixels."""
    return getattr(denoiser.net, "in_channels", 3) - 3


@contextmanager
def _outputs(net: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collects what every layer puts out, by name, in the order they finish: innermost layers first."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                seen[name] = output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in net.named_modules() if name]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _differs(clips: Tensor, frames: Tensor) -> bool:
    clips = _by_frame(clips)
    return clips.shape != frames.shape or _difference(clips, frames) > TOLERANCE


def _by_frame(x: Tensor) -> Tensor:
    """One row for each frame: clips are unfolded, and what is computed once a clip is repeated."""
    if x.ndim == 5:
        return x.transpose(1, 2).flatten(0, 1)
    return x.repeat_interleave(_FRAMES, dim=0) if len(x) == _BATCH else x


def _difference(a: Tensor, b: Tensor) -> float:
    scale = float(b.abs().max())
    return float((a - b).abs().max()) / (scale if scale > 0 else 1.0)


def _randomise_spatial(net: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for name, parameter in net.named_parameters():
        if not is_temporal(name):
            fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 1
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.data = noise / math.sqrt(fan_in) + (
                1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
            )

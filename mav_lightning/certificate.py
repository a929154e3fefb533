"""The certificate of a space-time network: what its output must equal before training.

Make-A-Video extends an image network by temporal layers that start as the identity, so at initialization the output
for a clip must be that for its frames (§3.2). The check runs in float64 with all spatial weights randomized, since a
network whose output starts at zero would pass any comparison.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mav_lightning.diffusion.denoiser import NetDenoiser, space_time_network

__all__ = ["TOLERANCE", "Certificate", "certify_frames", "certify_parent"]

TOLERANCE = 1e-12  # relative to the largest output, float64
_BATCH, _FRAMES = 2, 3


@dataclass(frozen=True)
class Certificate:
    """Result of a comparison.

    Attributes:
        error: Largest difference, relative to the largest value.
        layer: First layer, in execution order, whose output differed. None if none did.
        size: Height and width of the frames compared, in pixels.
    """

    error: float
    layer: str | None
    size: int

    @property
    def holds(self) -> bool:
        """Whether the outputs are equal up to rounding."""
        return self.error <= TOLERANCE


def certify_frames(denoiser: NetDenoiser) -> Certificate:
    """Compare a denoiser's output for clips with its output for their frames.

    Args:
        denoiser: Denoiser with temporal layers as initialized. Modified: spatial weights are randomized and all weights
            are converted to float64.
    """
    denoiser = denoiser.double().eval()
    _randomize_spatial(denoiser)
    # Two pixels at the coarsest level: a single one cannot be normalized by group, and attention to it is trivial.
    return _compare(denoiser, denoiser, 2 * space_time_network(denoiser).downsampling, frame_by_frame=True)


def certify_parent(child: NetDenoiser, parent: NetDenoiser, size: int) -> Certificate:
    """Compare a denoiser's output for clips with its parent's, with the weights unchanged.

    With an image denoiser as parent the comparison is per frame, with a clip denoiser per clip. Input channels that
    only the child has are filled with noise.

    Args:
        child: Denoiser after the transfer of weights; converted to float64.
        parent: Denoiser of images or clips; converted to float64.
        size: Height and width of the frames, in pixels.
    """
    of_images = not space_time_network(parent).temporal_parameters()
    return _compare(child.double().eval(), parent.double().eval(), size, frame_by_frame=of_images)


@torch.no_grad()
def _compare(on_clips: NetDenoiser, other: NetDenoiser, size: int, frame_by_frame: bool) -> Certificate:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    network, channels = space_time_network(on_clips), on_clips.channels
    clips, cond = draw(_BATCH, channels, _FRAMES, size, size), draw(_BATCH, network.cond_channels)
    sigma, fps = draw(_BATCH).exp(), torch.linspace(3.0, 20.0, _BATCH, dtype=torch.float64)
    concat = draw(_BATCH, network.in_channels - channels, _FRAMES, size, size)
    other_concat = concat[:, : space_time_network(other).in_channels - channels]
    with _outputs(on_clips) as of_clips:
        output = on_clips(clips, sigma, cond, fps, concat).x0
    if frame_by_frame:
        expected, of_other = _by_frame_outputs(other, clips, sigma, cond, other_concat)
    else:
        with _outputs(other) as raw:
            expected = _by_frame(other(clips, sigma, cond, fps, other_concat).x0)
        of_other = {name: _by_frame(value) for name, value in raw.items()}
    error = _difference(_by_frame(output), expected)
    layer = None if error <= TOLERANCE else _first_difference(of_clips, of_other)
    return Certificate(error, layer, size)


def _by_frame_outputs(
    denoiser: NetDenoiser, clips: Tensor, sigma: Tensor, cond: Tensor, concat: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a denoiser on single frames: in a batch, a layer could mix frames unnoticed."""
    outputs, of_layers = [], defaultdict(list)
    for clip, frame in itertools.product(range(_BATCH), range(_FRAMES)):
        own = slice(clip, clip + 1)
        with _outputs(denoiser) as of_frame:
            found = denoiser(clips[own, :, frame], sigma[own], cond[own], concat_cond=concat[own, :, frame])
        outputs.append(found.x0)
        for name, value in of_frame.items():
            of_layers[name].append(value)
    return torch.cat(outputs), {name: torch.cat(values) for name, values in of_layers.items()}


def _first_difference(of_clips: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    shared = ((name, value, expected[name]) for name, value in of_clips.items() if name in expected)
    return next((name for name, clip, frames in shared if _differs(clip, frames)), "the output")


@contextmanager
def _outputs(net: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the output of every layer, by name, in the order in which they finish: innermost layers first."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                found[name] = output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in net.named_modules() if name]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _differs(clips: Tensor, frames: Tensor) -> bool:
    clips = _by_frame(clips)
    return clips.shape != frames.shape or _difference(clips, frames) > TOLERANCE


def _by_frame(x: Tensor) -> Tensor:
    """Return one row per frame: clips are unfolded, and values computed once per clip are repeated."""
    if x.ndim == 5:
        return x.transpose(1, 2).flatten(0, 1)
    return x.repeat_interleave(_FRAMES, dim=0) if len(x) == _BATCH else x


def _difference(a: Tensor, b: Tensor) -> float:
    scale = float(b.abs().max())
    return float((a - b).abs().max()) / (scale if scale > 0 else 1.0)


def _randomize_spatial(denoiser: NetDenoiser) -> None:
    generator = torch.Generator().manual_seed(1)
    temporal = set(map(id, space_time_network(denoiser).temporal_parameters().values()))
    for name, parameter in denoiser.named_parameters():
        if id(parameter) not in temporal:
            fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 1
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            # Scales of normalization layers stay around 1.
            offset = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
            parameter.data = noise / math.sqrt(fan_in) + offset

"""Batch sizes of the sampling chain from a memory budget.

The bytes are counted on PyTorch's meta device by sampling one clip, so they are the same on every machine: weights, and
the most that tensors take at once. Attention counts as one operation that keeps no scores. Workspaces of libraries, the
program itself and unused memory of PyTorch's allocator are not counted; leave room for them.
"""

import copy
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from torch import Tensor, nn

from mav_lightning.cascade.cascade import Cascade, TrainedNetwork
from mav_lightning.cascade.clip_requests import ClipRequest, InterpolateRequest, SuperResolveRequest, TextRequest
from mav_lightning.cascade.network_calls import Until
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.sampling_chain import SamplingChain
from mav_lightning.common.allocations import Allocations
from mav_lightning.common.errors import UserError
from mav_lightning.common.units import memory, parse_memory
from mav_lightning.prompts import Prompt

__all__ = ["SamplingMemory", "with_batches"]

_SIZES = (1, 2, 4, 8, 16, 32, 64)  # powers of 2 divide each other, so that full batches need no copies
_STEPS = 3  # as much memory as more steps, even of a sampler that keeps the x0 estimate before the last

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class SamplingMemory:
    """Bytes that sampling clips from text takes, without a loop.

    Attributes:
        weights: All networks.
        kept: Bytes of each clip of the batch that stay in memory while the networks after the decoder run.
        decoder: The most that the decoder takes for one clip.
        interpolator: The most that the interpolator takes for one clip. 0 if it does not run.
        super_resolution: The most that super-resolution takes for one clip. 0 if it does not run.
    """

    weights: int
    kept: int
    decoder: int
    interpolator: int
    super_resolution: int

    @classmethod
    def of(cls, cascade: Cascade, sampling: Sampling) -> "SamplingMemory":
        """Count the bytes.

        Args:
            cascade: The networks, in float32 on any device; they are not run.
            sampling: Settings, whose batch sizes have no effect.

        Raises:
            UserError: If a network cannot run on the meta device.
        """
        s, on_meta = sampling, _on_meta(cascade)
        text = TextRequest(prompt=Prompt("a"), fps=8.0, seed=0)
        peaks = {"decoder": _peak(on_meta, s, text, "decoder"), "interpolator": 0, "super_resolution": 0}
        if s.skip > 1 and s.interpolation == "network":
            given = InterpolateRequest(frames=_black(s, s.frames), fps=8.0, seed=0)
            peaks["interpolator"] = _peak(on_meta, s, given, "interpolator")
        if s.largest > s.size:
            clip = SuperResolveRequest(frames=_black(s, s.output_frames), fps=8.0, seed=0)
            earlier = 4 * 3 * s.output_frames * s.largest**2  # of the batch before, until it is replaced
            peaks["super_resolution"] = _peak(on_meta, s, clip, "sr_high") + earlier
        floats = s.frames * s.size**2 + s.output_frames * s.size**2
        written = s.output_frames * (s.output_size or s.largest) ** 2
        weights = sum(tensor.nbytes for member in on_meta.members.values() for tensor in _tensors(member.network))
        return cls(weights, 3 * (4 * floats + 2 * written), **peaks)  # clips in uint8, and copied into one array

    def needed(self, batch_size: int, interpolator_batch: int, sr_batch: int) -> int:
        """Return the bytes that sampling takes with the batch sizes of `Sampling`."""
        at_once = self.decoder * batch_size, self.interpolator * interpolator_batch, self.super_resolution * sr_batch
        return self.weights + batch_size * self.kept + max(at_once)

    def batches(self, budget: int) -> tuple[int, int, int]:
        """Choose batch sizes: the decoder's as large as possible, then those of the other networks beside it.

        Args:
            budget: Bytes.

        Returns:
            `batch_size`, `interpolator_batch` and `sr_batch` of `Sampling`: powers of 2 up to 64, none above
            the first, and 1 for a network that does not run.

        Raises:
            UserError: If one clip does not fit.
        """
        if (least := self.needed(1, 1, 1)) > budget:
            peaks = {
                "the decoder": self.decoder,
                "the interpolator": self.interpolator,
                "super-resolution": self.super_resolution,
            }
            raise UserError(
                f"one clip takes {memory(least)} in {max(peaks, key=lambda name: peaks[name])}, {memory(self.weights)} "
                f"of it weights, got {memory(budget)}; give more, or reduce frames, or chunk if spatial "
                "super-resolution needs most.",
                argument="memory",
            )
        size = max(n for n in _SIZES if self.needed(n, 1, 1) <= budget)
        left = budget - self.weights - size * self.kept
        interpolator, super_resolution = (
            max((n for n in _SIZES if n <= size and 0 < n * peak <= left), default=1)
            for peak in (self.interpolator, self.super_resolution)
        )
        return size, interpolator, super_resolution


def with_batches(cascade: Cascade, sampling: Sampling) -> Sampling:
    """Return settings with batch sizes in place of a memory budget; unchanged if they have none.

    Args:
        cascade: The networks, in float32 on any device; they are not run.
        sampling: Settings.

    Raises:
        UserError: If not even one clip fits, or a network cannot run on the meta device.
    """
    if sampling.memory is None:
        return sampling
    sizes = SamplingMemory.of(cascade, sampling).batches(parse_memory(sampling.memory, "memory"))
    return replace(sampling, memory=None, batch_size=sizes[0], interpolator_batch=sizes[1], sr_batch=sizes[2])


def _peak(cascade: Cascade, sampling: Sampling, request: ClipRequest, until: Until) -> int:
    """Return the bytes that sampling one clip takes at most."""
    few = replace(  # Noise levels of a network on the meta device have no values.
        sampling, steps=_STEPS, interpolator_steps=None, sr_steps=None, noise_levels="karras", batch_size=1,
        interpolator_batch=1, sr_batch=1,
    )  # fmt: skip
    weights = [tensor for member in cascade.members.values() for tensor in _tensors(member.network)]
    allocations = Allocations(without=weights)
    try:
        with allocations:
            for _ in SamplingChain(cascade, few).run([request], until):
                pass
    except RuntimeError as error:  # .item() and the like
        raise UserError(
            "cannot be used with this pipeline: a network's computation depends on tensor values, which PyTorch's "
            f"meta device lacks ({str(error).splitlines()[0]}); leave it out, or give batch_size, interpolator_batch "
            "and sr_batch to `Pipeline.from_pretrained`.",
            argument="memory",
        ) from error
    return allocations.peak


def _black(sampling: Sampling, frames: int) -> np.ndarray:
    return np.zeros((frames, sampling.size, sampling.size, 3), np.uint8)


def _on_meta(cascade: Cascade) -> Cascade:
    """Return a copy of a cascade on the meta device, made without copying weights."""
    return Cascade(**{role: _copied(member) for role, member in cascade.members.items()})  # type: ignore[arg-type]


def _copied(member: TrainedNetwork[N]) -> TrainedNetwork[N]:
    known = {id(tensor): tensor.detach().to("meta") for tensor in _tensors(member.network)}
    for parameter in member.network.parameters():
        known[id(parameter)] = nn.Parameter(known[id(parameter)], parameter.requires_grad)
    return replace(member, network=copy.deepcopy(member.network, known))


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]

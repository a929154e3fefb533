"""Clips on their way through the cascade, and how several of them go through a network at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from mav_lightning.cascade.clip_requests import ClipRequest

__all__ = ["RequestedClips", "in_batches", "padded"]

T = TypeVar("T")


@dataclass(frozen=True)
class RequestedClips:
    """Clips and the requests that they are made for.

    Attributes:
        pixels: Clips, shape (B, 3, T, H, W), in [-1, 1].
        cond: Image embeddings of the decoder, shape (B, D). None for clips that no decoder made.
        requests: The requests, B of one class.
    """

    pixels: Tensor
    cond: Tensor | None
    requests: Sequence[ClipRequest]

    @property
    def seeds(self) -> list[int]:
        """Noise seeds of the requests."""
        return [one.noise_seed for one in self.requests]


def padded(items: Sequence[T], size: int) -> list[T]:
    """Return the items, and copies of the last one up to `size` in all."""
    return [*items, *[items[-1]] * (size - len(items))]


def in_batches(
    clips: Iterable[RequestedClips], size: int, run: Callable[[RequestedClips], Tensor]
) -> Iterator[RequestedClips]:
    """Apply a network to clips, several at once.

    Every batch has `size` clips, the last one by copies, so that a clip is bit-identical alone and in a batch.

    Args:
        clips: The clips, each in an object of its own.
        size: Clips of a batch.
        run: Maps B clips to B clips (B, 3, T, H, W). It computes each of them from its own row only.

    Yields:
        Each clip with its new pixels. A batch is read and processed when its first clip is needed.
    """
    left = iter(clips)
    while own := list(islice(left, size)):
        for one, pixels in zip(own, run(_joined(padded(own, size))).split(1), strict=False):
            yield replace(one, pixels=pixels)


def _joined(clips: Sequence[RequestedClips]) -> RequestedClips:
    """Return one object that holds all clips."""
    conds = [one.cond for one in clips if one.cond is not None]
    pixels = torch.cat([one.pixels for one in clips])
    return RequestedClips(pixels, torch.cat(conds) if conds else None, [one.requests[0] for one in clips])

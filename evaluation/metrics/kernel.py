"""Kernel distance between generated and real clips: unbiased at any number of clips, unlike the Fréchet distance."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.extractors.base import ClipFeatures
from evaluation.jackknife import BLOCKS, INTERVAL, LIMIT, Jackknife, deal
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number
from evaluation.metrics.clip_states import TwoSets
from mav_lightning.common.errors import UserError

__all__ = ["Kernel", "KernelDistance", "kernel_distance"]

_DEGREE, _OFFSET = 3, 1.0


@dataclass(frozen=True)
class Kernel(Metric):
    """The kernel distance; on the features of a video network, the kernel video distance (KVD).

    Attributes:
        of: Extractor of one row per clip.
    """

    kind = "kernel"
    numbers = {"{name}": Number("lower", "squared distance")}
    roles = {"of": ClipFeatures}
    needs_real = True

    of: str

    def fewest_clips(self, shape_of: Callable[[str], tuple[int, int]]) -> int:
        """Return 2, for a pair."""
        return 2

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute the distance."""
        distance = KernelDistance(name)
        distance.add_sides(extracted, self.of)
        value, jackknife = distance.jackknife()
        interval = jackknife.interval(value) if jackknife else None
        score = self.score("{name}", value, interval, f"{INTERVAL} {LIMIT}", distance.count("generated"))
        return MetricResult({name: score})


class KernelDistance(TwoSets):
    """Squared kernel distance of features with one row per clip; see `kernel_distance`.

    Args:
        name: Name in messages.
        kwargs: Arguments of `torchmetrics.Metric`.
    """

    def compute(self) -> Tensor:
        """Compute the distance, a float64 scalar.

        Raises:
            UserError: If a side has clips of fewer than two groups.
        """
        return torch.tensor(self.jackknife()[0], dtype=torch.float64)

    def jackknife(self) -> tuple[float, Jackknife | None]:
        """Compute the distance and its jackknife.

        Raises:
            UserError: If a side has clips of fewer than two groups.
        """
        (generated, groups), (real, real_groups) = self.both_sides()
        for side, own in (("generated", groups), ("real", real_groups)):
            if (few := len(own.unique())) < 2:
                raise UserError(
                    f"{self.name}: {few} {side} source videos, but a kernel distance needs 2; provide clips of more."
                )
        sides = (generated.flatten(1).cpu().numpy(), real.flatten(1).cpu().numpy())
        return kernel_distance(*sides, groups.tolist(), real_groups.tolist())


def kernel_distance(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    groups_a: Sequence[Hashable],
    groups_b: Sequence[Hashable],
    blocks: int = BLOCKS,
) -> tuple[float, Jackknife | None]:
    r"""Compute the unbiased squared maximum mean discrepancy under :math:`k(x, y) = (x \cdot y / d + 1)^3`.

    On I3D features it is the kernel video distance (Unterthiner et al., 2018), with the kernel of KID. Within a side it
    averages over pairs of clips of different groups: two cuts of one video would look like a mode of the distribution.
    Groups of one clip each give the usual estimate.

    References:
        Demystifying MMD GANs (Bińkowski et al., 2018), Equations 2 and 3. https://arxiv.org/abs/1801.01401

    Args:
        a: Features of each clip on one side, shape (n, d).
        b: Features of each clip on the other side, shape (m, d).
        groups_a: Group of each clip of `a`, at least two different ones; a group stays in one block.
        groups_b: Group of each clip of `b`.
        blocks: Largest number of blocks on each side.

    Returns:
        The distance, which may be negative, and its jackknife, or None if a side has fewer than three groups.
    """
    x, y = (np.asarray(side, dtype=np.float64) for side in (a, b))
    sides = [_KernelSums(_kernel(one, one), groups, blocks) for one, groups in ((x, groups_a), (y, groups_b))]
    cross = sides[0].members.T @ _kernel(x, y) @ sides[1].members

    def distance(keep_a: NDArray[np.float64], keep_b: NDArray[np.float64]) -> float:
        """Compute the distance over the blocks where these are 1."""
        between = keep_a @ cross @ keep_b / (sides[0].count(keep_a) * sides[1].count(keep_b))
        return float(sides[0].within(keep_a) + sides[1].within(keep_b) - 2 * between)

    all_a, all_b = (np.ones(side.blocks) for side in sides)
    value = distance(all_a, all_b)
    if min(side.blocks for side in sides) < 3:
        return value, None
    without_a = np.array([distance(kept, all_b) for kept in 1.0 - np.eye(sides[0].blocks)])
    without_b = np.array([distance(all_a, kept) for kept in 1.0 - np.eye(sides[1].blocks)])
    return value, Jackknife(value, (without_a, without_b))


class _KernelSums:
    """Sums of one side's kernel matrix over blocks, for pairs of clips of different groups."""

    def __init__(self, kernel: NDArray[np.float64], groups: Sequence[Hashable], blocks: int) -> None:
        dealt, names = deal(groups, blocks), {group: number for number, group in enumerate(dict.fromkeys(groups))}
        self.members = np.eye(int(dealt.max()) + 1)[dealt]  # (clips, blocks)
        self.blocks = self.members.shape[1]
        numbers = np.array([names[group] for group in groups])
        apart = (numbers[:, None] != numbers).astype(np.float64)
        self._sums, self._pairs = (self.members.T @ matrix @ self.members for matrix in (kernel * apart, apart))

    def count(self, keep: NDArray[np.float64]) -> float:
        """Return the number of clips in the blocks where `keep` is 1."""
        return float(self.members.sum(axis=0) @ keep)

    def within(self, keep: NDArray[np.float64]) -> float:
        """Return the mean over the pairs in the blocks where `keep` is 1."""
        return float(keep @ self._sums @ keep) / float(keep @ self._pairs @ keep)


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = (x @ y.T / x.shape[1] + _OFFSET) ** _DEGREE
    return values

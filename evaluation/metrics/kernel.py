"""Kernel distance between generated and real clips: unbiased at any number of clips, unlike the Fréchet distance."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.extractors.base import ClipFeatures
from evaluation.jackknife import BLOCKS, INTERVAL, LIMIT, Jackknife, deal
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number
from evaluation.metrics.clip_states import FeatureSets, TwoSets
from mav_lightning.common.arguments import check_fields
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeFloat, PositiveFloat, PositiveInt

__all__ = ["Kernel", "KernelDistance", "KernelStates", "Pairs", "PolynomialKernel", "kernel_distance"]

Pairs = Literal["distinct", "all"]


@dataclass(frozen=True)
class PolynomialKernel:
    r"""Polynomial kernel of the kernel distance: :math:`k(x, y) = (x \cdot y / d + c)^p` of features of length d.

    Attributes:
        degree: The power p; 3 in KID and KVD, 2 in JEDi.
        offset: The constant c; 1 in KID and KVD, 0 in JEDi.
        pairs: ``distinct`` averages over pairs of clips of different groups, without bias; ``all`` also pairs each clip
            with itself, as JEDi does, which adds a bias that falls with the number of clips.
        scale: Factor of the distance; 100 in JEDi.
    """

    degree: PositiveInt = 3
    offset: NonNegativeFloat = 1.0
    pairs: Pairs = "distinct"
    scale: PositiveFloat = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        check_fields(self)

    def __call__(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the kernel of all pairs: (n, d) and (m, d) → (n, m)."""
        values: NDArray[np.float64] = (x @ y.T / x.shape[1] + self.offset) ** self.degree
        return values


@dataclass(frozen=True)
class Kernel(Metric):
    """The kernel distance; on the features of a video network, the kernel video distance (KVD).

    Attributes:
        of: Extractor of one row per clip.
        degree: See `PolynomialKernel`.
        offset: See `PolynomialKernel`.
        pairs: See `PolynomialKernel`.
        scale: See `PolynomialKernel`.
    """

    kind = "kernel"
    numbers = {"{name}": Number("lower", "squared distance")}
    roles = {"of": ClipFeatures}
    needs_real = True
    reads_prompts = False

    of: str
    degree: PositiveInt = 3
    offset: NonNegativeFloat = 1.0
    pairs: Pairs = "distinct"
    scale: PositiveFloat = 1.0

    def fewest_clips(self, shape_of: Callable[[str], tuple[int, int]]) -> int:
        """Return 2, the fewest clips that form a pair."""
        return 2

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute the distance."""
        distance = KernelDistance(name, self.degree, self.offset, self.pairs, self.scale)
        distance.add_sides(extracted, self.of)
        value, jackknife = distance.jackknife()
        interval = jackknife.interval(value) if jackknife else None
        of_what = LIMIT if self.pairs == "distinct" else "expected distance at this number of clips"
        score = self.score("{name}", value, interval, f"{INTERVAL} {of_what}", distance.count("generated"))
        return MetricResult({name: score}, jackknife={name: jackknife} if jackknife else {})


KVD_KERNEL = PolynomialKernel()


class KernelStates(TwoSets):
    """Features of both sides, and their squared kernel distance; see `kernel_distance`.

    Args:
        name: Name in messages.
        degree: See `PolynomialKernel`.
        offset: See `PolynomialKernel`.
        pairs: See `PolynomialKernel`.
        scale: See `PolynomialKernel`.
        kwargs: Arguments of `TwoSets`.
    """

    def __init__(
        self,
        name: str,
        degree: PositiveInt = 3,
        offset: NonNegativeFloat = 1.0,
        pairs: Pairs = "distinct",
        scale: PositiveFloat = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        self.kernel = PolynomialKernel(degree, offset, pairs, scale)

    def compute(self) -> Tensor:
        """Compute the distance, a float64 scalar.

        Raises:
            UserError: If a side has another number of clips than required, unless `force`, or clips of fewer than two
                groups.
        """
        self.require_counts()
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
        return kernel_distance(*sides, groups.tolist(), real_groups.tolist(), kernel=self.kernel)


class KernelDistance(FeatureSets, KernelStates):
    """Squared kernel distance of features with one row per clip; see `kernel_distance`."""


def kernel_distance(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    groups_a: Sequence[Hashable],
    groups_b: Sequence[Hashable],
    blocks: int = BLOCKS,
    kernel: PolynomialKernel = KVD_KERNEL,
) -> tuple[float, Jackknife | None]:
    r"""Compute the squared maximum mean discrepancy under a kernel, by default :math:`k(x, y) = (x \cdot y / d + 1)^3`.

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
        kernel: The kernel, and the pairs that are averaged.

    Returns:
        The distance, which may be negative, and its jackknife, or None if a side has fewer than three groups.
    """
    x, y = (np.asarray(side, dtype=np.float64) for side in (a, b))
    both = ((x, groups_a), (y, groups_b))
    sides = [_KernelSums(kernel(one, one), groups, blocks, kernel.pairs) for one, groups in both]
    cross = sides[0].members.T @ kernel(x, y) @ sides[1].members

    def distance(keep_a: NDArray[np.float64], keep_b: NDArray[np.float64]) -> float:
        """Compute the distance over the blocks where these are 1."""
        between = keep_a @ cross @ keep_b / (sides[0].count(keep_a) * sides[1].count(keep_b))
        return kernel.scale * float(sides[0].within(keep_a) + sides[1].within(keep_b) - 2 * between)

    all_a, all_b = (np.ones(side.blocks) for side in sides)
    value = distance(all_a, all_b)
    if min(side.blocks for side in sides) < 3:
        return value, None
    without_a = np.array([distance(kept, all_b) for kept in 1.0 - np.eye(sides[0].blocks)])
    without_b = np.array([distance(all_a, kept) for kept in 1.0 - np.eye(sides[1].blocks)])
    return value, Jackknife(value, (without_a, without_b))


class _KernelSums:
    """Sums of one side's kernel matrix over blocks, for pairs of clips of different groups."""

    def __init__(self, kernel: NDArray[np.float64], groups: Sequence[Hashable], blocks: int, pairs: Pairs) -> None:
        dealt, names = deal(groups, blocks), {group: number for number, group in enumerate(dict.fromkeys(groups))}
        self.members = np.eye(int(dealt.max()) + 1)[dealt]  # (clips, blocks)
        self.blocks = self.members.shape[1]
        numbers = np.array([names[group] for group in groups])
        counted = numbers[:, None] != numbers if pairs == "distinct" else np.ones_like(kernel, bool)
        apart = counted.astype(np.float64)
        self._sums, self._pairs = (self.members.T @ matrix @ self.members for matrix in (kernel * apart, apart))

    def count(self, keep: NDArray[np.float64]) -> float:
        """Return the number of clips in the blocks where `keep` is 1."""
        return float(self.members.sum(axis=0) @ keep)

    def within(self, keep: NDArray[np.float64]) -> float:
        """Return the mean over the pairs in the blocks where `keep` is 1."""
        return float(keep @ self._sums @ keep) / float(keep @ self._pairs @ keep)

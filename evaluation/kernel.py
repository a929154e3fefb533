"""The kernel distance: unbiased at any number of clips, where the Fréchet distance is not."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.jackknife import BLOCKS, Jackknife, deal

__all__ = ["kernel_distance"]

_DEGREE, _OFFSET = 3, 1.0


def kernel_distance(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    groups_a: Sequence[Hashable],
    groups_b: Sequence[Hashable],
    blocks: int = BLOCKS,
) -> tuple[float, Jackknife | None]:
    r"""Unbiased squared maximum mean discrepancy under :math:`k(x, y) = (x \cdot y / d + 1)^3`.

    Of the features of I3D it is the kernel video distance (Unterthiner et al., 2018), with the kernel of KID. Within a
    side it is the mean over pairs of clips of different groups: a clip is no pair with itself, nor with another cut of
    the same video, which would look like a mode of the distribution. Groups of one clip each give the usual estimate.

    References:
        Demystifying MMD GANs (Bińkowski et al., 2018), Equations 2 and 3. https://arxiv.org/abs/1801.01401

    Args:
        a: Features of each clip on one side, (n, d).
        b: Features of each clip on the other side, (m, d).
        groups_a: Group of each clip of `a`, two or more different ones; the jackknife keeps a group together.
        groups_b: Group of each clip of `b`.
        blocks: Most blocks on each side.

    Returns:
        The distance, which may be negative, and its jackknife; None with fewer than three groups on a side.
    """
    x, y = (np.asarray(side, dtype=np.float64) for side in (a, b))
    sides = [_Side(_kernel(one, one), groups, blocks) for one, groups in ((x, groups_a), (y, groups_b))]
    cross = sides[0].members.T @ _kernel(x, y) @ sides[1].members

    def distance(keep_a: NDArray[np.float64], keep_b: NDArray[np.float64]) -> float:
        """Of the blocks where these are 1."""
        between = keep_a @ cross @ keep_b / (sides[0].count(keep_a) * sides[1].count(keep_b))
        return float(sides[0].within(keep_a) + sides[1].within(keep_b) - 2 * between)

    all_a, all_b = (np.ones(side.blocks) for side in sides)
    value = distance(all_a, all_b)
    if min(side.blocks for side in sides) < 3:
        return value, None
    without_a = np.array([distance(kept, all_b) for kept in 1.0 - np.eye(sides[0].blocks)])
    without_b = np.array([distance(all_a, kept) for kept in 1.0 - np.eye(sides[1].blocks)])
    return value, Jackknife(value, (without_a, without_b))


class _Side:
    """Sums of a side's kernel matrix over its blocks, and over pairs of different groups alone."""

    def __init__(self, kernel: NDArray[np.float64], groups: Sequence[Hashable], blocks: int) -> None:
        dealt, names = deal(groups, blocks), {group: number for number, group in enumerate(dict.fromkeys(groups))}
        self.members = np.eye(int(dealt.max()) + 1)[dealt]  # (clips, blocks)
        self.blocks = self.members.shape[1]
        numbers = np.array([names[group] for group in groups])
        apart = (numbers[:, None] != numbers).astype(np.float64)
        self._sums, self._pairs = (self.members.T @ matrix @ self.members for matrix in (kernel * apart, apart))

    def count(self, keep: NDArray[np.float64]) -> float:
        """Clips in the blocks where `keep` is 1."""
        return float(self.members.sum(axis=0) @ keep)

    def within(self, keep: NDArray[np.float64]) -> float:
        """The mean over their pairs."""
        return float(keep @ self._sums @ keep) / float(keep @ self._pairs @ keep)


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return (x @ y.T / x.shape[1] + _OFFSET) ** _DEGREE

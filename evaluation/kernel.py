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

    Of the features of I3D it is the kernel video distance (Unterthiner et al., 2018), with the kernel of KID.

    References:
        Demystifying MMD GANs (Bińkowski et al., 2018), Equations 2 and 3. https://arxiv.org/abs/1801.01401

    Args:
        a: Features of each clip on one side, (n, d), n ≥ 2.
        b: Features of each clip on the other side, (m, d), m ≥ 2.
        groups_a: Group of each clip of `a`, which the jackknife keeps together.
        groups_b: Group of each clip of `b`.
        blocks: Most blocks on each side.

    Returns:
        The distance, which may be negative, and its jackknife; None with fewer than three groups on a side.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (a, b)]
    members = [np.eye(blocks)[deal(groups, blocks)] for groups in (groups_a, groups_b)]  # (clips, blocks)
    members = [member[:, member.any(axis=0)] for member in members]
    own = [member.T @ _kernel(side, side, diagonal=0.0) @ member for side, member in zip(sides, members, strict=True)]
    cross = members[0].T @ _kernel(sides[0], sides[1]) @ members[1]
    counts = [member.sum(axis=0) for member in members]

    def distance(*kept: NDArray[np.float64]) -> float:
        """Of the blocks where `kept` is 1, on either side."""
        n, m = (float(keep @ count) for keep, count in zip(kept, counts, strict=True))
        within_a, within_b = (float(keep @ sums @ keep) for keep, sums in zip(kept, own, strict=True))
        return within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * float(kept[0] @ cross @ kept[1]) / (n * m)

    everything = [np.ones(len(count)) for count in counts]
    value = distance(*everything)
    if min(map(len, counts)) < 3:
        return value, None
    left_out = [1.0 - np.eye(len(count)) for count in counts]
    without_a = np.array([distance(kept, everything[1]) for kept in left_out[0]])
    without_b = np.array([distance(everything[0], kept) for kept in left_out[1]])
    return value, Jackknife(value, (without_a, without_b))


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64], diagonal: float | None = None) -> NDArray[np.float64]:
    matrix: NDArray[np.float64] = (x @ y.T / x.shape[1] + _OFFSET) ** _DEGREE
    if diagonal is not None:
        np.fill_diagonal(matrix, diagonal)
    return matrix

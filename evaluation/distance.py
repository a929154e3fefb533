"""The Fréchet distance between two Gaussians, and how sure it is."""

from collections.abc import Callable, Hashable, Sequence
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from evaluation.jackknife import BLOCKS, Jackknife, deal
from evaluation.moments import Divisor, Moments

__all__ = ["frechet_curve", "frechet_distance", "frechet_jackknife"]

Side = tuple[Sequence[NDArray[np.floating]], Sequence[Hashable]]  # features of each clip, (rows, d), and its group
_HALVINGS = 3  # of the numbers of clips on a curve
_SUBSETS = 4  # most disjoint ones that a point of a curve is a mean of


def frechet_distance(a: Moments, b: Moments, divisor: Divisor = "n-1") -> float:
    r"""Squared Fréchet distance, |μₐ-μᵦ|² + tr(A + B - 2(AB)^½) (Dowson & Landau, 1982).

    tr(AB)^½ is the sum of the roots of the eigenvalues of the symmetric Rᵀ B R, where R Rᵀ = A, in float64: real by
    construction, where a general matrix root turns complex below full rank.
    """
    return _distance_from(a, divisor)(b)


def _distance_from(a: Moments, divisor: Divisor) -> Callable[[Moments], float]:
    """`frechet_distance` from one set to many: its root is taken once."""
    left = a.covariance(divisor)
    root = _root(left)

    def to(b: Moments) -> float:
        right = b.covariance(divisor)
        cross = np.sqrt(np.clip(np.linalg.eigvalsh(root.T @ right @ root), 0.0, None)).sum()
        distance = np.square(a.mean - b.mean).sum() + np.trace(left) + np.trace(right) - 2.0 * cross
        return float(max(distance, 0.0))

    return to


def _root(covariance: NDArray[np.float64]) -> NDArray[np.floating]:
    """Some R with R Rᵀ = `covariance`: Cholesky's, or below full rank, which that cannot take, from eigenvectors."""
    try:
        root: NDArray[np.floating] = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.clip(values, 0.0, None))
    return root


def frechet_jackknife(
    a: Sequence[NDArray[np.floating]],
    b: Sequence[NDArray[np.floating]],
    groups_a: Sequence[Hashable],
    groups_b: Sequence[Hashable],
    divisor: Divisor = "n-1",
    blocks: int = BLOCKS,
) -> Jackknife | None:
    """The distance with its delete-a-block jackknife.

    Its value estimates the *expected distance at this number of clips*, which lies above that of the full
    distributions; `Jackknife.extrapolated` estimates the latter.

    Args:
        a: Features of each clip on one side, (rows, d) each.
        b: Features of each clip on the other side.
        groups_a: Group of each clip of `a`: clips cut from one source video share one, and one block.
        groups_b: Group of each clip of `b`.
        divisor: As in `frechet_distance`.
        blocks: Most blocks on each side.

    Returns:
        None with fewer than three groups on a side.
    """
    parts = [_moments_by_block(side, deal(groups, blocks)) for side, groups in ((a, groups_a), (b, groups_b))]
    if min(map(len, parts)) < 3:
        return None
    left, right = (reduce(add, side) for side in parts)
    from_left, from_right = (_distance_from(side, divisor) for side in (left, right))
    without_left = np.array([from_right(left - part) for part in parts[0]])
    without_right = np.array([from_left(right - part) for part in parts[1]])
    return Jackknife(from_left(right), (without_left, without_right))


def frechet_curve(a: Side, b: Side, divisor: Divisor = "n-1") -> list[tuple[int, float, int]]:
    """How the distance falls with the number of clips, which tells how much of it is bias.

    Both sides are halved together, group by group, so that subsets of one size are disjoint. Points with fewer rows
    than d + 1 are left out: there the covariance is singular.

    Returns:
        From few clips to all: clips on the first side, mean distance, and over how many subsets.
    """
    points = []
    for halvings in range(_HALVINGS, -1, -1):
        parts = [_moments_by_block(clips, deal(groups, 2**halvings)) for clips, groups in (a, b)]
        pairs = list(zip(*parts, strict=False))[:_SUBSETS]
        if min(map(len, parts)) < 2**halvings or any(min(x.n, y.n) <= len(x.mean) for x, y in pairs):
            continue
        distances = [frechet_distance(x, y, divisor) for x, y in pairs]
        points.append((len(a[0]) // 2**halvings, float(np.mean(distances)), len(pairs)))
    return points


def _moments_by_block(clips: Sequence[NDArray[np.floating]], blocks: NDArray[np.intp]) -> list[Moments]:
    rows = [
        [clip for clip, own in zip(clips, blocks, strict=True) if own == block] for block in range(blocks.max() + 1)
    ]
    return [Moments.of(np.concatenate(block)) for block in rows]

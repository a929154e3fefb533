"""The Fréchet distance between two Gaussians, and how sure it is."""

from collections.abc import Hashable, Sequence
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evaluation.statistics import Divisor, Moments

__all__ = ["frechet_distance", "frechet_interval"]


def frechet_distance(a: Moments, b: Moments, divisor: Divisor = "n-1") -> float:
    r"""Squared Fréchet distance, |μₐ-μᵦ|² + tr(A + B - 2(AB)^½) (Dowson & Landau, 1982).

    tr(AB)^½ is taken as that of the symmetric A^½ B A^½, by two eigendecompositions in float64: real by construction,
    where a general matrix root turns complex below full rank.
    """
    left, right = a.covariance(divisor), b.covariance(divisor)
    values, vectors = np.linalg.eigh(left)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ right @ root), 0.0, None)).sum()
    distance = np.square(a.mean - b.mean).sum() + np.trace(left) + np.trace(right) - 2.0 * cross
    return float(max(distance, 0.0))


def frechet_interval(
    a: Sequence[NDArray[np.floating]],
    b: Sequence[NDArray[np.floating]],
    groups_a: Sequence[Hashable],
    groups_b: Sequence[Hashable],
    divisor: Divisor = "n-1",
    blocks: int = 20,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """A delete-a-block jackknife interval.

    The estimand is the *expected distance at this number of clips*, which lies above the distance of the full
    distributions. A bootstrap would centre somewhere else altogether: drawing with replacement adds to that bias.

    Args:
        a: Features of each clip on one side, (rows, d) each.
        b: Features of each clip on the other side.
        groups_a: Group of each clip of `a`: clips cut from one source video share one, and one block.
        groups_b: Group of each clip of `b`.
        divisor: As in `frechet_distance`.
        blocks: Most blocks on each side.
        level: Of confidence.

    Returns:
        (low, high), low at least 0; None with fewer than three groups on a side.
    """
    parts = [_blocks(side, groups, blocks) for side, groups in ((a, groups_a), (b, groups_b))]
    if min(map(len, parts)) < 3:
        return None
    whole = [reduce(add, side) for side in parts]
    left = np.array([frechet_distance(whole[0] - part, whole[1], divisor) for part in parts[0]])
    right = np.array([frechet_distance(whole[0], whole[1] - part, divisor) for part in parts[1]])
    variance = sum((len(side) - 1) / len(side) * np.square(side - side.mean()).sum() for side in (left, right))
    reach = float(stats.t.ppf((1 + level) / 2, min(map(len, parts)) - 1) * np.sqrt(variance))
    centre = frechet_distance(whole[0], whole[1], divisor)
    return max(centre - reach, 0.0), centre + reach


def _blocks(clips: Sequence[NDArray[np.floating]], groups: Sequence[Hashable], blocks: int) -> list[Moments]:
    """Moments of each block; whole groups are dealt to the blocks in turn."""
    block_of = {group: number % blocks for number, group in enumerate(dict.fromkeys(groups))}
    dealt: dict[int, list[NDArray[np.floating]]] = {}
    for clip, group in zip(clips, groups, strict=True):
        dealt.setdefault(block_of[group], []).append(clip)
    return [Moments.of(np.concatenate(rows)) for rows in dealt.values()]

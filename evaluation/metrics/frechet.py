"""Fréchet distance between generated and real clips: FVD with one feature vector per clip, FID with one per frame."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from torch import Tensor

from evaluation.extractors.base import FeatureExtractor
from evaluation.jackknife import BLOCKS, INTERVAL, LIMIT, Jackknife, deal
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number
from evaluation.metrics.clip_states import FeatureSets, TwoSets
from evaluation.moments import Divisor, Moments
from mav_lightning.common.arguments import check_argument
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.terminal import SafeLog

__all__ = [
    "Frechet",
    "FrechetDistance",
    "FrechetStates",
    "frechet_curve",
    "frechet_distance",
    "frechet_jackknife",
]

log = SafeLog(__name__)
FeatureSet = tuple[Sequence[NDArray[np.floating]], Sequence[Hashable]]  # features of each clip, (rows, d), and groups
_HALVINGS = 3  # of the number of clips, along a curve
_SUBSETS = 4  # most disjoint subsets that a point of a curve averages
_UNIT = "squared distance"


@dataclass(frozen=True)
class Frechet(Metric):
    """The Fréchet distance at this number of clips, and ``<name>-inf``, its extrapolation to infinitely many clips.

    The extrapolation needs more source videos than features on each side, however many clips each video gives; with
    fewer it has no value.

    Attributes:
        of: Extractor. One row per clip makes the distance an FVD, one per frame an FID.
        divisor: Divisor of the covariance.
    """

    kind = "frechet"
    numbers = {"{name}": Number("lower", _UNIT), "{name}-inf": Number("lower", _UNIT)}
    roles = {"of": FeatureExtractor}
    needs_real = True
    reads_prompts = False

    of: str
    divisor: Divisor

    def fewest_clips(self, shape_of: Callable[[str], tuple[int, int]]) -> int:
        """Return the number of clips that gives more rows than features; with fewer, a covariance is singular."""
        rows, columns = shape_of(self.of)
        return -(-(columns + 1) // rows)

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute the distance, its limit, and its curve over the number of clips."""
        distance = FrechetDistance(name, self.divisor, force=extracted.force)
        distance.add_sides(extracted, self.of)
        value, jackknife, n = float(distance.compute()), distance.jackknife(), distance.count("generated")
        low, high = jackknife.interval(jackknife.value) if jackknife else (0.0, 0.0)
        interval = (max(low, 0.0), high) if jackknife else None
        features, videos = _features_and_videos(distance)
        reachable = jackknife if videos > features else None
        limit = reachable.extrapolated if reachable else float("nan")
        limits = reachable.interval(limit) if reachable else None
        scores = {
            name: self.score("{name}", value, interval, f"{INTERVAL} expected distance at this number of clips", n),
            f"{name}-inf": self.score("{name}-inf", limit, limits, f"{INTERVAL} {LIMIT}", n),
        }
        points = [
            {"n": clips, "value": mean, "subsets": subsets}
            for clips, mean, subsets in frechet_curve(*distance.sides(), self.divisor)
        ]
        notes = self._notes(name, features, videos)
        return MetricResult(
            scores, curves={name: points}, jackknife={name: jackknife} if jackknife else {}, notes=notes
        )

    def _notes(self, name: str, features: int, videos: int) -> list[str]:
        """Return a note if there are too few source videos to extrapolate from, or hardly enough."""
        if videos >= 2 * features:
            return []
        why = f"{name}-inf: {counted(videos, 'source video')} for {features} features"
        found = (
            "are few; in simulations it was up to a quarter too high" if videos > features else "cannot be extrapolated"
        )
        return [f"{why} {found}. Provide clips of {2 * features} videos, or compare a kernel distance."]


def _features_and_videos(distance: "FrechetDistance") -> tuple[int, int]:
    """Return the number of features, and of source videos on the side that has fewer."""
    sides = distance.sides()
    return sides[0][0][0].shape[-1], min(len(set(groups)) for _, groups in sides)


class FrechetStates(TwoSets):
    """Features of both sides, and their squared Fréchet distance.

    Args:
        name: Name in messages: that of the protocol's metric, since ``fvd`` alone means the usual I3D.
        divisor: Divisor of the covariance.
        force: Whether to compute with other numbers of clips than required, and with fewer than d + 1 rows, where the
            covariance is singular.
        kwargs: Arguments of `TwoSets`.
    """

    def __init__(self, name: str, divisor: Divisor = "n-1", force: bool = False, **kwargs: Any) -> None:
        check_argument("divisor", divisor, Divisor)
        super().__init__(name, force=force, **kwargs)
        self.divisor = divisor

    def compute(self) -> Tensor:
        """Compute the distance, a float64 scalar.

        Raises:
            UserError: If a side has another number of clips than required or fewer than d + 1 rows, unless `force`; if
                it has fewer than two rows even then.
        """
        self.require_counts()
        sides = [self.side(side) for side in ("generated", "real")]
        for side, (features, _) in zip(("generated", "real"), sides, strict=True):
            self._require_enough(side, features)
        generated, real = (features.flatten(0, 1).cpu().numpy() for features, _ in sides)
        # The scatter of one side at a time: 34 MB for the 2048 features of an FID, and the root takes five times that.
        distance = _distance_from(Moments.of(generated), self.divisor)(Moments.of(real))
        return torch.tensor(distance, dtype=torch.float64)

    def jackknife(self) -> Jackknife | None:
        """Compute the distance with its jackknife; see `frechet_jackknife`."""
        (generated, groups), (real, real_groups) = self.sides()
        return frechet_jackknife(generated, real, groups, real_groups, self.divisor)

    def _require_enough(self, side: str, features: Tensor) -> None:
        rows = len(features) * (features.shape[1] if features.ndim == 3 else 0)
        needed = features.shape[-1] + 1 if rows else 2
        if self.force and 2 <= rows < needed:
            log.warning(
                "%s: %s %s feature vectors leave a covariance of %s features singular: the distance is far from its "
                "value for many clips, and only large differences mean anything.",
                self.name, rows, side, needed - 1,
            )  # fmt: skip
        if rows < (2 if self.force else needed):
            per_clip = features.shape[1] if rows else 1
            raise UserError(
                f"{self.name}: {rows} {side} feature vectors from {counted(len(features), 'clip')}, but a covariance "
                f"of {needed - 1} features needs {needed}; provide at least {-(-needed // per_clip)} {side} clips"
                f"{'' if self.force else ', or set `force` and trust only large differences'}."
            )


class FrechetDistance(FeatureSets, FrechetStates):
    """Squared Fréchet distance of features.

    References:
        GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017). https://arxiv.org/abs/1706.08500
        Towards Accurate Generative Models of Video (Unterthiner et al., 2018). https://arxiv.org/abs/1812.01717

    Example:
        >>> import torch
        >>> distance = FrechetDistance("toy-fvd")
        >>> rows = torch.tensor([[0.0], [1.0], [2.0]])[:, None]
        >>> distance.update(rows, ["a", "b", "c"], real=True)
        >>> distance.update(rows + 3, ["a", "b", "c"], real=False)
        >>> float(distance.compute())
        9.0
    """


def frechet_distance(a: Moments, b: Moments, divisor: Divisor = "n-1") -> float:
    r"""Compute the squared Fréchet distance ``|μₐ-μᵦ|² + tr(A + B - 2(AB)^½)`` (Dowson & Landau, 1982).

    tr(AB)^½ is the sum of the square roots of the eigenvalues of the symmetric Rᵀ B R, where R Rᵀ = A, in float64:
    real by construction, while a general matrix root becomes complex below full rank. R has as many columns as A has
    rank, so that few vectors of many features take little time and memory.

    Args:
        a: Moments of one set.
        b: Moments of the other set.
        divisor: Divisor of the covariances.
    """
    return _distance_from(a, divisor)(b)


def _distance_from(a: Moments, divisor: Divisor) -> Callable[[Moments], float]:
    """Return `frechet_distance` from one set to others; its root is computed once."""
    left = a.covariance(divisor)
    root, trace, mean = _root(left), np.trace(left), a.mean  # the closure keeps no other matrix than the root

    def to(b: Moments) -> float:
        right = b.covariance(divisor)
        cross = np.sqrt(np.clip(np.linalg.eigvalsh(root.T @ right @ root), 0.0, None)).sum()
        distance = np.square(mean - b.mean).sum() + trace + np.trace(right) - 2.0 * cross
        return float(max(distance, 0.0))

    return to


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return R with R Rᵀ = `covariance` and as many columns as its rank: Cholesky's, with pivots (Higham, 1990)."""
    factor, pivots, rank, _ = lapack.dpstrf(covariance, lower=1)
    root = np.zeros((len(covariance), rank))
    root[pivots - 1] = np.tril(factor[:, :rank])
    return root


def frechet_jackknife(
    a: Sequence[NDArray[np.floating]],
    b: Sequence[NDArray[np.floating]],
    groups_a: Sequence[Hashable],
    groups_b: Sequence[Hashable],
    divisor: Divisor = "n-1",
    blocks: int = BLOCKS,
) -> Jackknife | None:
    """Compute the distance with its delete-a-block jackknife.

    The value estimates the *expected distance at this number of clips*, which is above that of the full distributions;
    `Jackknife.extrapolated` estimates the latter.

    Args:
        a: Features of each clip on one side, shape (rows, d) each.
        b: Features of each clip on the other side.
        groups_a: Group of each clip of `a`; a group stays in one block.
        groups_b: Group of each clip of `b`.
        divisor: Divisor of the covariances.
        blocks: Largest number of blocks on each side.

    Returns:
        The jackknife, or None if a side has fewer than three groups.
    """
    if min(len(set(groups)) for groups in (groups_a, groups_b)) < 3:  # before any covariance is computed
        return None
    parts = [_moments_by_block(side, deal(groups, blocks)) for side, groups in ((a, groups_a), (b, groups_b))]
    left, right = (reduce(add, side) for side in parts)
    from_left, from_right = (_distance_from(side, divisor) for side in (left, right))
    without_left = np.array([from_right(left - part) for part in parts[0]])
    without_right = np.array([from_left(right - part) for part in parts[1]])
    return Jackknife(from_left(right), (without_left, without_right))


def frechet_curve(a: FeatureSet, b: FeatureSet, divisor: Divisor = "n-1") -> list[tuple[int, float, int]]:
    """Compute the distance at smaller numbers of clips, which shows how much of it is bias.

    Both sides are halved together, group by group, so that subsets of one size are disjoint. Points with fewer rows
    than d + 1, where the covariance is singular, are left out.

    Args:
        a: Features and groups of one side.
        b: Features and groups of the other side.
        divisor: Divisor of the covariances.

    Returns:
        From few clips to all: clips on the first side, mean distance, and the number of subsets averaged.
    """
    points = []
    for halvings in range(_HALVINGS, -1, -1):
        dealt = [deal(groups, 2**halvings) for _, groups in (a, b)]
        if min(int(blocks.max()) + 1 for blocks in dealt) < 2**halvings or any(
            _fewest_rows(clips, blocks) <= clips[0].shape[-1] for (clips, _), blocks in zip((a, b), dealt, strict=True)
        ):
            continue  # before any covariance is computed
        parts = [_moments_by_block(clips, blocks) for (clips, _), blocks in zip((a, b), dealt, strict=True)]
        pairs = list(zip(*parts, strict=False))[:_SUBSETS]
        distances = [frechet_distance(x, y, divisor) for x, y in pairs]
        points.append((len(a[0]) // 2**halvings, float(np.mean(distances)), len(pairs)))
    return points


def _fewest_rows(clips: Sequence[NDArray[np.floating]], blocks: NDArray[np.intp]) -> int:
    """Return the number of rows in the first `_SUBSETS` blocks that has the fewest."""
    return int(np.bincount(blocks, [len(clip) for clip in clips])[:_SUBSETS].min())


def _moments_by_block(clips: Sequence[NDArray[np.floating]], blocks: NDArray[np.intp]) -> list[Moments]:
    rows = [
        [clip for clip, own in zip(clips, blocks, strict=True) if own == block] for block in range(blocks.max() + 1)
    ]
    return [Moments.of(np.concatenate(block)) for block in rows]

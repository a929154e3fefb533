"""Paired comparisons of a few seeds, saying no more than they can.

The trials of two variants at one seed share data order, initial weights and noise, so their difference is far less
noisy than either value. With so few seeds a percentile bootstrap covers 75 % (n = 3) where it claims 95 %; Student's t
covers what it claims. Two seeds give two pairs and nothing more.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mav_lightning.ablation.study import Better, Metric

__all__ = [
    "LEAST",
    "LEVEL",
    "Comparison",
    "compare",
    "goodness",
    "holm",
    "seeds_needed",
    "sign_flip_p",
    "student_half_width",
    "student_p",
    "tells_spread",
    "verdict",
]

LEAST = 3  # pairs that a test and an interval need
LEVEL = 0.05  # of a star, after Holm's correction


@dataclass(frozen=True)
class Comparison:
    """A variant against the baseline on one metric.

    Attributes:
        metric: Name and direction.
        variant: Compared with the baseline.
        seeds: At which both have a value.
        baseline: Values at `seeds`.
        values: The variant's, at `seeds`.
        missing: Seeds at which one of the two has none.
        difference: Mean of variant − baseline, where better is ``one`` of their distances from 1; None without a pair.
        interval: Student-t 95 % interval of `difference`; None for fewer than three pairs or where all differences are
            equal.
        effect: Mean difference in standard deviations of the differences, Hedges-corrected; None for fewer than three
            pairs or where all differences are equal.
        p: Exact two-sided sign-flip test of the improvements; None for fewer than three pairs.
        p_holm: `p` corrected over the study's variants.
        t_holm: Paired Student-t test, corrected likewise: surer with few seeds, where the differences are normal. None
            for fewer than three pairs or where all differences are equal.
        better: Seeds at which the variant is better.
        worse: Seeds at which it is worse.
    """

    metric: Metric
    variant: str
    seeds: list[int]
    baseline: list[float]
    values: list[float]
    missing: list[int]
    difference: float | None
    interval: tuple[float, float] | None
    effect: float | None
    p: float | None
    p_holm: float | None
    t_holm: float | None
    better: int
    worse: int

    @property
    def star(self) -> bool:
        """Whether the improvement or loss is significant at `LEVEL` after correction, by the exact test."""
        return self.p_holm is not None and self.p_holm < LEVEL

    @property
    def differences(self) -> NDArray[np.float64]:
        """Variant − baseline at each of `seeds`, where better is ``one`` of their distances from 1: what is tested."""
        return _differences(self.metric.better, self.baseline, self.values)

    @property
    def shown(self) -> bool:
        """Whether a star or, where differences are normal, Student's test supports the improvement or loss."""
        return self.star or (self.t_holm is not None and self.t_holm < LEVEL)


def goodness(value: float, better: Better) -> float:
    """A number that is larger the better `value` is."""
    return {"higher": value, "lower": -value, "one": -abs(value - 1.0)}[better]


def compare(
    metric: Metric, baseline: Mapping[int, float | None], variants: Mapping[str, Mapping[int, float | None]]
) -> list[Comparison]:
    """Compares every variant with the baseline, paired by seed, and corrects for their number.

    Args:
        metric: Name and direction.
        baseline: Seed → value, None where the trial failed.
        variants: Variant → seed → value.
    """
    single = [_pair(metric, name, baseline, values) for name, values in variants.items()]
    exact, student = (_corrected([getattr(one, name) for one in single]) for name in ("p", "t_holm"))
    return [replace(one, p_holm=p, t_holm=t) for one, p, t in zip(single, exact, student, strict=True)]


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down correction over the last axis: the chance of any false star stays below the level."""
    values = np.asarray(p, float)
    order = np.argsort(values, axis=-1)
    stepped = np.take_along_axis(values, order, -1) * (values.shape[-1] - np.arange(values.shape[-1]))
    corrected = np.empty_like(values)
    np.put_along_axis(corrected, order, np.minimum(np.maximum.accumulate(stepped, axis=-1), 1.0), -1)
    return corrected


def sign_flip_p(differences: ArrayLike) -> NDArray[np.float64]:
    """Two-sided p of "every difference might as well have had the other sign", over the last axis.

    Exact up to 13 pairs; of more, 8,192 of the flips are drawn.
    """
    from scipy import stats  # takes seconds to import, and two seeds never come here

    rng, few = np.random.default_rng(0), {"permutation_type": "samples", "n_resamples": 2**13, "batch": 64}
    result = stats.permutation_test((np.asarray(differences, float),), np.mean, axis=-1, rng=rng, **few)
    return np.asarray(result.pvalue)


def student_p(differences: ArrayLike) -> NDArray[np.float64]:
    """Two-sided p of Student's paired t-test over the last axis; NaN where all differences are equal."""
    from scipy import stats

    values = np.asarray(differences, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = values.mean(axis=-1) / (values.std(axis=-1, ddof=1) / math.sqrt(values.shape[-1]))
    return np.where(np.isfinite(t), 2 * stats.t.sf(np.abs(t), values.shape[-1] - 1), np.nan)


def student_half_width(values: ArrayLike) -> float | None:
    """Half the width of Student's 95 % interval of a mean; None for fewer than three values."""
    from scipy import stats

    known = np.asarray(values, float)
    if len(known) < LEAST:
        return None
    return float(stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known)))


def tells_spread(differences: NDArray[np.float64]) -> bool:
    """Whether differences are unequal beyond rounding; equal ones, as shares of clips can be, tell no spread."""
    return bool(np.ptp(differences) > 1e-12 * np.abs(differences).max())


def seeds_needed(variants: int) -> int:
    """The fewest seeds with which a star is possible, when `variants` are compared with a baseline."""
    return math.floor(1 + math.log2(variants / LEVEL)) + 1


def verdict(pairs: int, variants: int) -> str:
    """What `pairs` seeds can and cannot say, in a sentence."""
    if pairs == 0:
        return "There is no complete pair yet, so nothing can be compared."
    needed = seeds_needed(variants)
    if pairs < LEAST:
        counted = "One seed gives one pair" if pairs == 1 else "Two seeds give two pairs"
        return f"{counted} and nothing more: no interval, no test. A test needs ≥ {needed} seeds."
    if pairs < needed:
        return (
            f"{pairs} seeds give Student-t intervals; an exact sign-flip test cannot fall below "
            f"p = {2.0 ** (1 - pairs):.3g} with them, so there are no stars: it needs ≥ {needed} seeds."
        )
    return f"A star marks p < {LEVEL} in an exact sign-flip test over {pairs} seeds, Holm-corrected over the variants."


def _pair(
    metric: Metric, name: str, baseline: Mapping[int, float | None], values: Mapping[int, float | None]
) -> Comparison:
    pairs = {
        seed: (before, after)
        for seed in baseline
        if (before := baseline[seed]) is not None and (after := values.get(seed)) is not None
    }
    ours, theirs = ([pair[side] for pair in pairs.values()] for side in (0, 1))
    differences = _differences(metric.better, ours, theirs)
    gains = differences if metric.better == "higher" else -differences
    enough = len(pairs) >= LEAST
    return Comparison(
        metric=metric,
        variant=name,
        seeds=list(pairs),
        baseline=ours,
        values=theirs,
        missing=[seed for seed in baseline if seed not in pairs],
        difference=float(differences.mean()) if pairs else None,
        interval=_interval(differences) if enough else None,
        effect=_effect(differences) if enough else None,
        p=float(sign_flip_p(gains)) if enough else None,
        p_holm=None,
        t_holm=_student(gains) if enough else None,
        better=int((gains > 0).sum()),
        worse=int((gains < 0).sum()),
    )


def _differences(better: Better, before: list[float], after: list[float]) -> NDArray[np.float64]:
    gains = [goodness(new, better) - goodness(old, better) for old, new in zip(before, after, strict=True)]
    return np.array(gains) * (1.0 if better == "higher" else -1.0)


def _corrected(p: list[float | None]) -> list[float | None]:
    """Holm over those there are."""
    corrected = iter(holm([one for one in p if one is not None]).tolist())
    return [None if one is None else next(corrected) for one in p]


def _student(differences: NDArray[np.float64]) -> float | None:
    return float(student_p(differences)) if _interval(differences) else None


def _interval(differences: NDArray[np.float64]) -> tuple[float, float] | None:
    half = student_half_width(differences)
    assert half is not None  # there are three pairs at least
    if not tells_spread(differences):
        return None  # an interval of no width would lie
    return float(differences.mean() - half), float(differences.mean() + half)


def _effect(differences: np.ndarray) -> float | None:
    spread = differences.std(ddof=1) if _interval(differences) else 0.0
    correction = 1.0 - 3.0 / (4.0 * (len(differences) - 1) - 1.0)
    return float(differences.mean() / spread * correction) if spread > 0 else None

"""Paired statistics over a few seeds.

The trials of two variants at one seed share data order, initial weights and noise, so their difference has far less
variance than either value. With three seeds, a 95 % percentile-bootstrap interval covers only 75 %; Student's t has its
nominal coverage. With two seeds only the pairs themselves are reported.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mav_lightning.ablation.study import Better, StudyMetric

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
    "varies",
    "verdict",
]

LEAST = 3  # pairs that a test and an interval require
LEVEL = 0.05  # significance level of a star, after Holm's correction


@dataclass(frozen=True)
class Comparison:
    """Comparison of a variant with the baseline on one metric.

    Attributes:
        metric: Name and direction of the metric.
        variant: Name of the variant.
        seeds: Seeds at which both have a value.
        baseline: Values of the baseline at `seeds`.
        values: Values of the variant at `seeds`.
        missing: Seeds at which at least one of the two has no value.
        difference: Mean of variant − baseline; if the metric's `better` is ``one``, of their distances from 1. None
            without a pair.
        interval: Student-t 95 % confidence interval of `difference`; None for fewer than three pairs or if all
            differences are equal.
        effect: Mean difference in standard deviations of the differences, with Hedges' correction; None for fewer than
            three pairs or if all differences are equal.
        p: p-value of the exact two-sided sign-flip test of the improvements; None for fewer than three pairs.
        p_holm: `p` after Holm's correction over the study's variants.
        t_holm: p-value of Student's paired t-test after Holm's correction. It has more power with few seeds if the
            differences are normal. None for fewer than three pairs or if all differences are equal.
        better: Number of seeds at which the variant is better.
        worse: Number of seeds at which the variant is worse.
    """

    metric: StudyMetric
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
        """Whether the difference is significant at `LEVEL` after correction, by the exact test."""
        return self.p_holm is not None and self.p_holm < LEVEL

    @property
    def differences(self) -> NDArray[np.float64]:
        """Tested differences, variant − baseline at each seed; of the distances from 1 if `better` is ``one``."""
        return _differences(self.metric.better, self.baseline, self.values)

    @property
    def shown(self) -> bool:
        """Whether the exact test or Student's test, which assumes normal differences, supports a difference."""
        return self.star or (self.t_holm is not None and self.t_holm < LEVEL)


def goodness(value: float, better: Better) -> float:
    """Map a metric's value to a number that is larger for better results.

    Args:
        value: Value of a metric.
        better: Direction of improvement of the metric; not ``neither``.
    """
    return {"higher": value, "lower": -value, "one": -abs(value - 1.0)}[better]


def compare(
    metric: StudyMetric, baseline: Mapping[int, float | None], variants: Mapping[str, Mapping[int, float | None]]
) -> list[Comparison]:
    """Compare every variant with the baseline, paired by seed and corrected for the number of variants.

    Args:
        metric: Name and direction of the metric.
        baseline: Seed → value of the baseline; None if the trial has none.
        variants: Variant → seed → value; None if the trial has none.
    """
    single = [_pair(metric, name, baseline, values) for name, values in variants.items()]
    exact, student = (_corrected([getattr(one, name) for one in single]) for name in ("p", "t_holm"))
    return [replace(one, p_holm=p, t_holm=t) for one, p, t in zip(single, exact, student, strict=True)]


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Correct p-values over the last axis by Holm's step-down method, which bounds the family-wise error rate.

    Args:
        p: p-values, any shape.
    """
    values = np.asarray(p, float)
    order = np.argsort(values, axis=-1)
    stepped = np.take_along_axis(values, order, -1) * (values.shape[-1] - np.arange(values.shape[-1]))
    corrected = np.empty_like(values)
    np.put_along_axis(corrected, order, np.minimum(np.maximum.accumulate(stepped, axis=-1), 1.0), -1)
    return corrected


def sign_flip_p(differences: ArrayLike) -> NDArray[np.float64]:
    """Return the two-sided p-value of the sign-flip permutation test over the last axis.

    The test is exact up to 13 pairs; beyond that it samples 8,192 sign flips.

    Args:
        differences: Paired differences, shape (..., pairs).
    """
    from scipy import stats  # imported here because it takes seconds and two seeds never need it

    rng, few = np.random.default_rng(0), {"permutation_type": "samples", "n_resamples": 2**13, "batch": 64}
    result = stats.permutation_test((np.asarray(differences, float),), np.mean, axis=-1, rng=rng, **few)
    return np.asarray(result.pvalue)


def student_p(differences: ArrayLike) -> NDArray[np.float64]:
    """Return the two-sided p-value of Student's paired t-test over the last axis; NaN if all differences are equal.

    Args:
        differences: Paired differences, shape (..., pairs).
    """
    from scipy import stats

    values = np.asarray(differences, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = values.mean(axis=-1) / (values.std(axis=-1, ddof=1) / math.sqrt(values.shape[-1]))
    return np.where(np.isfinite(t), 2 * stats.t.sf(np.abs(t), values.shape[-1] - 1), np.nan)


def student_half_width(values: ArrayLike) -> float | None:
    """Return half the width of the Student-t 95 % confidence interval of a mean; None for fewer than three values."""
    from scipy import stats

    known = np.asarray(values, float)
    if len(known) < LEAST:
        return None
    return float(stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known)))


def varies(differences: NDArray[np.float64]) -> bool:
    """Return whether differences are unequal beyond rounding; fractions of clips, for example, can all be equal."""
    return bool(np.ptp(differences) > 1e-12 * np.abs(differences).max())


def seeds_needed(variants: int) -> int:
    """Return the fewest seeds with which a star is possible if `variants` variants are compared with a baseline."""
    return math.floor(1 + math.log2(variants / LEVEL)) + 1


def verdict(pairs: int, variants: int) -> str:
    """Return a sentence on what can be concluded from `pairs` seeds when `variants` are compared with a baseline."""
    if pairs == 0:
        return "There is no complete pair yet, so nothing can be compared."
    needed = seeds_needed(variants)
    if pairs < LEAST:
        counted = "One seed gives one pair" if pairs == 1 else "Two seeds give two pairs"
        return f"{counted}: too few for an interval or a test. A test needs ≥ {needed} seeds."
    if pairs < needed:
        return (
            f"{pairs} seeds give Student-t intervals. The exact sign-flip test cannot reach a p-value below "
            f"{2.0 ** (1 - pairs):.3g} with them, so there are no stars; a star needs ≥ {needed} seeds."
        )
    return f"A star marks p < {LEVEL} in the exact sign-flip test over {pairs} seeds, Holm-corrected over the variants."


def _pair(
    metric: StudyMetric, name: str, baseline: Mapping[int, float | None], values: Mapping[int, float | None]
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
    """Apply Holm's correction to the p-values that are not None."""
    corrected = iter(holm([one for one in p if one is not None]).tolist())
    return [None if one is None else next(corrected) for one in p]


def _student(differences: NDArray[np.float64]) -> float | None:
    return float(student_p(differences)) if varies(differences) else None


def _interval(differences: NDArray[np.float64]) -> tuple[float, float] | None:
    if not varies(differences):
        return None  # an interval of zero width would be misleading
    half = student_half_width(differences)
    assert half is not None  # callers have at least three pairs
    return float(differences.mean() - half), float(differences.mean() + half)


def _effect(differences: NDArray[np.float64]) -> float | None:
    if not varies(differences):
        return None
    correction = 1.0 - 3.0 / (4.0 * (len(differences) - 1) - 1.0)
    return float(differences.mean() / differences.std(ddof=1) * correction)

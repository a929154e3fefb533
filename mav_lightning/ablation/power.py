"""Power analysis: the number of seeds that an effect needs, given the variance observed in a study."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mav_lightning.ablation.paired_statistics import LEVEL, seeds_needed, varies
from mav_lightning.ablation.results import StudyResults
from mav_lightning.ablation.study import StudyMetric
from mav_lightning.common.errors import UserError, nearest

__all__ = ["ENUMERATED", "MOST", "POWER", "Needed", "power", "seeds_for", "sign_flip_power", "student_power"]

POWER = 0.8  # probability of a star if the effect is real
MOST = 1000  # seeds; the search stops here
ENUMERATED = 12  # seeds up to which all sign flips are enumerated, in a fraction of a second
_DRAWS = 5000  # samples of normal differences: the probability of a star to half a percent
_CERTAIN = 10.0  # standard deviations; power is 1 from here on, and SciPy's noncentral t fails beyond


@dataclass(frozen=True)
class Needed:
    """Number of seeds that a variant's comparison with the baseline needs.

    Attributes:
        variant: Name of the variant.
        pairs: Number of seeds at which both have results.
        std: Standard deviation of the paired differences; if the metric's `better` is ``one``, of differences of
            distances from 1. None below two pairs, 0 if all differences are equal.
        seeds: Seeds needed for the requested effect, at most `MOST`; None below two pairs or if all differences are
            equal.
        interval: Seeds needed at both ends of the 95 % confidence interval of `std`, which is wide for two or three
            pairs; None whenever `seeds` is None.
    """

    variant: str
    pairs: int
    std: float | None
    seeds: int | None
    interval: tuple[int, int] | None


def power(results: StudyResults, metric: str, effect: float) -> list[Needed]:
    """Estimate the number of seeds at which each variant detects a true difference with 80 % power.

    Args:
        results: Results of a study with some finished trials.
        metric: Name of one of the study's metrics.
        effect: Size of the difference from the baseline, in the metric's unit; above 0.

    Raises:
        UserError: If the study has no such metric, or the effect is not above 0.
    """
    study = results.plan.study
    known = {one.name: one for one in study.metrics}
    if metric not in known:
        raise UserError(
            f"the study has no metric `{metric}`; it has {', '.join(known)}.",
            argument="power",
            suggestion=nearest(metric, known),
        )
    if not effect > 0:
        raise UserError(
            f"the effect on {metric} must be above 0, got {effect:g}; give the smallest difference of interest.",
            argument="power",
        )
    return [_needed(results, known[metric], variant, effect) for variant in study.order[1:]]


def seeds_for(effect: float, std: float, variants: int) -> int:
    """Return the fewest seeds at which the exact sign-flip test finds `effect` with probability `POWER`.

    The level is that of Holm's strictest comparison, 0.05 / `variants`. The differences are assumed to be normal, for
    which no unbiased test has more power than Student's, so the search starts from its answer. Up to `ENUMERATED` (12)
    seeds it continues with the power of the exact test itself; with more seeds the power of Student's test is less than
    two percent higher for up to five variants.

    Args:
        effect: Mean of the paired differences; above 0.
        std: Standard deviation of the paired differences; above 0.
        variants: Number of variants compared with the baseline.

    Returns:
        Number of seeds; at least the smallest at which the exact test can be significant, at most `MOST` (1,000).
    """
    shift, level = min(effect / std, _CERTAIN), LEVEL / variants
    tried = np.arange(seeds_needed(variants), MOST)
    enough = tried[student_power(shift, tried, level) >= POWER]
    fewest = int(enough[0]) if len(enough) else MOST
    exact = (seeds for seeds in range(fewest, ENUMERATED + 1) if sign_flip_power(shift, seeds, level) >= POWER)
    return next(exact, max(fewest, ENUMERATED + 1))


def student_power(shift: float, seeds: NDArray[np.int_], level: float) -> NDArray[np.float64]:
    """Return the power of Student's paired t-test for normal differences.

    Args:
        shift: Mean of the differences in standard deviations.
        seeds: Numbers of seeds, any shape.
        level: Two-sided significance level.

    Returns:
        Power for each number of seeds, same shape.
    """
    from scipy import stats

    return np.asarray(
        stats.nct.sf(stats.t.ppf(1 - level / 2, seeds - 1), seeds - 1, shift * np.sqrt(seeds)), np.float64
    )


def sign_flip_power(shift: float, seeds: int, level: float) -> float:
    """Return the power of the exact sign-flip test for normal differences, by deterministic simulation.

    Args:
        shift: Mean of the differences in standard deviations.
        seeds: Number of seeds; time and memory double with each.
        level: Two-sided significance level; p must be below it.
    """
    draws = np.random.default_rng(0).normal(shift, size=(seeds, _DRAWS))  # an additional seed keeps the others' values
    # all sign flips but the identity; the last sign is fixed
    flips = 1.0 - 2.0 * (np.arange(1, 2 ** (seeds - 1))[:, None] >> np.arange(seeds) & 1)
    beaten = [
        (np.abs(flips @ part) > np.abs(part.sum(axis=0))).sum(axis=0) for part in np.array_split(draws, 50, axis=1)
    ]
    p = (1 + np.concatenate(beaten)) / 2 ** (seeds - 1)
    return float((p < level).mean())


def _needed(results: StudyResults, metric: StudyMetric, variant: str, effect: float) -> Needed:
    from scipy import stats

    one = next(found for found in results.compare(metric) if found.variant == variant)
    pairs, others = len(one.seeds), len(results.plan.study.order) - 1
    if pairs < 2:
        return Needed(variant, pairs, None, None, None)
    if not varies(one.differences):
        return Needed(variant, pairs, 0.0, None, None)
    std = float(one.differences.std(ddof=1))
    low, high = (float(std * np.sqrt((pairs - 1) / stats.chi2.ppf(share, pairs - 1))) for share in (0.975, 0.025))
    bounds = seeds_for(effect, low, others), seeds_for(effect, high, others)
    return Needed(variant, pairs, std, seeds_for(effect, std, others), bounds)

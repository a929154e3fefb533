"""How many seeds an effect needs, from the variance that a study has seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mav_lightning.ablation.results import StudyResults
from mav_lightning.ablation.statistics import LEVEL, seeds_needed, tells_spread
from mav_lightning.ablation.study import Metric
from mav_lightning.common.errors import UserError, did_you_mean

__all__ = ["ENUMERATED", "MOST", "POWER", "Needed", "power", "seeds_for", "sign_flip_power", "student_power"]

POWER = 0.8  # chance of a star where the effect is real
MOST = 1000  # seeds; beyond it, "more" is answer enough
ENUMERATED = 12  # seeds; up to here every flip of their signs is tried, which takes a fraction of a second
_DRAWS = 5000  # of normal differences: the chance of a star to half a percent
_CERTAIN = 10.0  # standard deviations; a larger effect is not surer, and SciPy's noncentral t does not know it


@dataclass(frozen=True)
class Needed:
    """Seeds that a variant's comparison with the baseline needs.

    Attributes:
        variant: Its name.
        pairs: Seeds seen.
        std: Standard deviation of the paired differences at them, as far as better is ``one`` of distances from 1; None
            below two pairs, 0 where all differences are equal.
        seeds: For the effect asked for; None below two pairs and where no spread is seen, `MOST` for more.
        interval: The same at the ends of the 95 % interval of `std`, which two or three pairs hardly bound.
    """

    variant: str
    pairs: int
    std: float | None
    seeds: int | None
    interval: tuple[int, int] | None


def power(results: StudyResults, metric: str, effect: float) -> list[Needed]:
    """For every variant: the seeds at which a difference of `effect` from the baseline gets a star 4 times in 5.

    Args:
        results: A study with some trials done.
        metric: One of the study's.
        effect: Size of the difference, in the metric's unit; above 0.

    Raises:
        UserError: A metric that the study does not ask for, or an effect that is not above 0.
    """
    study = results.plan.study
    known = {one.name: one for one in study.metrics}
    if metric not in known:
        raise UserError(
            f"--power {metric}: the study asks for no such metric{did_you_mean(metric, known)}; it has "
            f"{', '.join(known)}."
        )
    if not effect > 0:
        raise UserError(f"--power {metric}={effect:g}: an effect must be above 0; give the least that matters to you.")
    return [_needed(results, known[metric], variant, effect) for variant in study.order[1:]]


def seeds_for(effect: float, std: float, variants: int) -> int:
    """The fewest seeds at which the exact sign-flip test at Holm's strictest level finds `effect` with chance `POWER`.

    The differences are taken to be normal. Of these no unbiased test finds more than Student's, so the search starts
    from its answer. Up to `ENUMERATED` seeds it goes on by the exact test's own chance; with more, where the steps of
    that test are fine, Student's is less than two percent above it for up to five variants.

    Args:
        effect: Mean of the paired differences, or distances from 1; above 0.
        std: Their standard deviation; above 0.
        variants: Compared with the baseline.

    Returns:
        Never fewer than an exact test needs to give any star, and never more than `MOST`.
    """
    shift, level = min(effect / std, _CERTAIN), LEVEL / variants
    tried = np.arange(seeds_needed(variants), MOST)
    enough = tried[student_power(shift, tried, level) >= POWER]
    fewest = int(enough[0]) if len(enough) else MOST
    exact = (seeds for seeds in range(fewest, ENUMERATED + 1) if sign_flip_power(shift, seeds, level) >= POWER)
    return next(exact, max(fewest, ENUMERATED + 1))


def student_power(shift: float, seeds: NDArray[np.int_], level: float) -> NDArray[np.float64]:
    """The chance that a paired t-test finds normal differences at `level`.

    Args:
        shift: Their mean in standard deviations.
        seeds: How many there are, any shape.
        level: Two-sided.

    Returns:
        One for each of `seeds`.
    """
    from scipy import stats

    return stats.nct.sf(stats.t.ppf(1 - level / 2, seeds - 1), seeds - 1, shift * np.sqrt(seeds))


def sign_flip_power(shift: float, seeds: int, level: float) -> float:
    """The chance that the exact sign-flip test finds normal differences, from draws that are the same every time.

    Args:
        shift: Their mean in standard deviations.
        seeds: How many there are; time and memory double with each.
        level: Two-sided, to be fallen below.
    """
    draws = np.random.default_rng(0).normal(shift, size=(seeds, _DRAWS))  # one seed more leaves the others' as they are
    flips = 1.0 - 2.0 * (np.arange(1, 2 ** (seeds - 1))[:, None] >> np.arange(seeds) & 1)  # all others; the last stays
    beaten = [
        (np.abs(flips @ part) > np.abs(part.sum(axis=0))).sum(axis=0) for part in np.array_split(draws, 50, axis=1)
    ]
    p = (1 + np.concatenate(beaten)) / 2 ** (seeds - 1)
    return float((p < level).mean())


def _needed(results: StudyResults, metric: Metric, variant: str, effect: float) -> Needed:
    from scipy import stats

    one = next(found for found in results.compare(metric) if found.variant == variant)
    pairs, others = len(one.seeds), len(results.plan.study.order) - 1
    if pairs < 2:
        return Needed(variant, pairs, None, None, None)
    if not tells_spread(one.differences):
        return Needed(variant, pairs, 0.0, None, None)
    std = float(one.differences.std(ddof=1))
    low, high = (float(std * np.sqrt((pairs - 1) / stats.chi2.ppf(share, pairs - 1))) for share in (0.975, 0.025))
    bounds = seeds_for(effect, low, others), seeds_for(effect, high, others)
    return Needed(variant, pairs, std, seeds_for(effect, std, others), bounds)

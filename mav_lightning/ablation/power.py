"""How many seeds an effect needs, from the variance that a study has seen."""

import math
from dataclasses import dataclass

from mav_lightning.ablation.results import StudyResults
from mav_lightning.ablation.statistics import LEVEL, seeds_needed
from mav_lightning.ablation.study import Metric
from mav_lightning.common.errors import UserError, did_you_mean

__all__ = ["MOST", "POWER", "Needed", "power", "seeds_for"]

POWER = 0.8  # chance of a star where the effect is real
MOST = 1000  # seeds; beyond it, "more" is answer enough


@dataclass(frozen=True)
class Needed:
    """Seeds that a variant's comparison with the baseline needs.

    Attributes:
        variant: Its name.
        pairs: Seeds seen.
        std: Standard deviation of the paired differences at them; None below two pairs.
        seeds: For the effect asked for; None below two pairs, `MOST` for more.
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
    """The fewest seeds at which a paired t-test at Holm's strictest level finds `effect` with the chance `POWER`.

    Never fewer than an exact test needs to give any star, and never more than `MOST`.

    Args:
        effect: Mean of the paired differences.
        std: Their standard deviation.
        variants: Compared with the baseline.
    """
    fewest = seeds_needed(variants)
    enough = (seeds for seeds in range(fewest, MOST) if _power(effect, std, seeds, LEVEL / variants) >= POWER)
    return next(enough, MOST)


def _power(effect: float, std: float, seeds: int, level: float) -> float:
    from scipy import stats

    if std == 0:
        return 1.0
    critical = stats.t.ppf(1 - level / 2, seeds - 1)
    return float(stats.nct.sf(critical, seeds - 1, effect / std * math.sqrt(seeds)))


def _needed(results: StudyResults, metric: Metric, variant: str, effect: float) -> Needed:
    from scipy import stats

    one = next(found for found in results.compare(metric) if found.variant == variant)
    differences = [after - before for before, after in zip(one.baseline, one.values, strict=True)]
    pairs, others = len(differences), len(results.plan.study.order) - 1
    if pairs < 2:
        return Needed(variant, pairs, None, None, None)
    mean = sum(differences) / pairs
    std = math.sqrt(sum((one - mean) ** 2 for one in differences) / (pairs - 1))
    low, high = (std * math.sqrt((pairs - 1) / stats.chi2.ppf(share, pairs - 1)) for share in (0.975, 0.025))
    bounds = seeds_for(effect, low, others), seeds_for(effect, high, others)
    return Needed(variant, pairs, std, seeds_for(effect, std, others), bounds)

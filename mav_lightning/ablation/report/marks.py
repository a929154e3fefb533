"""Which variant is the best and which the second, where the seeds support saying so."""

from mav_lightning.ablation.results import StudyResults
from mav_lightning.ablation.statistics import compare, goodness
from mav_lightning.ablation.study import Metric

__all__ = ["marks"]


def marks(results: StudyResults, metric: Metric) -> dict[str, str]:
    """Variant → ``best`` or ``second``.

    The variant with the best mean is marked where it beats every other by the exact paired test, Holm-corrected over
    them; the second likewise among those that are left. Where the seeds are too few for the test nothing is marked.
    """
    left = {name: results.values(metric.name, name) for name in results.plan.study.order}
    found: dict[str, str] = {}
    for mark in ("best", "second"):
        means = {name: _mean(list(values.values())) for name, values in left.items()}
        known = {name: goodness(mean, metric.better) for name, mean in means.items() if mean is not None}
        if len(known) < 2:
            break
        first = max(known, key=lambda name: known[name])
        others = {name: left[name] for name in known if name != first}
        if not all(one.star and one.worse > one.better for one in compare(metric, left[first], others)):
            break
        found[first] = mark
        del left[first]
    return found


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

"""Marks for the best and the second-best variant of a metric, if the seeds support them."""

from mav_lightning.ablation.paired_statistics import compare, goodness
from mav_lightning.ablation.results import StudyResults, mean_of_known
from mav_lightning.ablation.study import StudyMetric

__all__ = ["marks"]


def marks(results: StudyResults, metric: StudyMetric) -> dict[str, str]:
    """Return variant → ``best`` or ``second``.

    The variant with the best mean is marked if it beats every other in the exact paired test, Holm-corrected over
    them; the second is determined in the same way among the remaining variants. With too few seeds for the test,
    nothing is marked.

    Args:
        results: Results of the study.
        metric: Metric to rank the variants by.
    """
    left = {name: results.values(metric.name, name) for name in results.plan.study.order}
    found: dict[str, str] = {}
    for mark in ("best", "second"):
        means = {name: mean_of_known(values.values()) for name, values in left.items()}
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

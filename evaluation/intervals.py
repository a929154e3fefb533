"""95 % confidence intervals for proportions, means, medians and any statistic of clips."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Interval", "grouped_mean", "jackknife", "mean", "median", "wilson", "wilson_of_mean"]

Interval = tuple[float, float] | None
_LEVEL = 0.95


def wilson(right: int, n: int) -> Interval:
    """Compute Wilson's score interval of a proportion, which is valid at 0 and 1; None if n is 0."""
    if n == 0:
        return None
    low, high = stats.binomtest(right, n).proportion_ci(_LEVEL, method="wilson")
    return float(low), float(high)


def wilson_of_mean(value: float, n: int) -> Interval:
    """Compute Wilson's score interval of a mean of n independent values in [0, 1]; None if n is 0.

    No such values vary more than those that are 0 or 1, for which it was made, so it is wide enough for others.
    """
    if n == 0:
        return None
    z = float(stats.norm.ppf((1 + _LEVEL) / 2))
    center, reach = value + z * z / (2 * n), z * np.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    low, high = ((center + sign * reach) / (1 + z * z / n) for sign in (-1, 1))
    return max(float(low), 0.0), min(float(high), 1.0)


def mean(values: NDArray[np.float64]) -> Interval:
    """Compute Student's t interval of a mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    reach = stats.t.ppf((1 + _LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - reach), float(values.mean() + reach)


def grouped_mean(values: NDArray[np.float64], groups: Sequence[Hashable]) -> tuple[float, Interval]:
    """Compute the mean over groups of their means, and its interval by `mean`; NaN values are left out.

    Clips cut from one video are not independent, so each group counts as one value. Groups of one clip each give the
    plain mean.

    Args:
        values: Value of each clip, shape (N,).
        groups: Group of each clip.
    """
    members: dict[Hashable, list[float]] = {}
    for value, group in zip(values.tolist(), groups, strict=True):
        if np.isfinite(value):
            members.setdefault(group, []).append(value)
    means = np.array([np.mean(own) for own in members.values()])
    return (float(means.mean()) if len(means) else float("nan")), mean(means)


def median(values: NDArray[np.float64]) -> Interval:
    """Compute the interval of a median between order statistics; None for fewer than six values."""
    n = len(values)
    if n < 6:
        return None
    rank = int(stats.binom.ppf((1 - _LEVEL) / 2, n, 0.5))
    ordered = np.sort(values)
    return float(ordered[rank - 1]), float(ordered[n - rank])


def jackknife(statistic: Callable[[NDArray[np.intp]], float], n: int) -> Interval:
    """Compute the 95 % delete-one jackknife interval of a statistic.

    Args:
        statistic: Function of the indices of clips.
        n: Number of clips.

    Returns:
        The interval. None for fewer than three clips, or if the statistic is undefined without one of them.
    """
    if n < 3:
        return None
    rows = np.arange(n)
    left_out = np.array([statistic(np.delete(rows, k)) for k in rows])
    if not np.isfinite(left_out).all():
        return None
    error = np.sqrt((n - 1) / n * np.square(left_out - left_out.mean()).sum())
    reach = stats.t.ppf((1 + _LEVEL) / 2, n - 1) * error
    return float(statistic(rows) - reach), float(statistic(rows) + reach)

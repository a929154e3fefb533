"""Differences of two systems with intervals: paired by clip, or by the real clips that two distances share."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.intervals import Interval, mean
from evaluation.jackknife import Jackknife

__all__ = ["PairedDifference", "paired_difference"]


@dataclass(frozen=True)
class PairedDifference:
    """Difference of one metric between two systems.

    Attributes:
        value: The second system's value minus the first's.
        interval: 95 % confidence interval. None for fewer than two pairs.
        kind: How the interval was computed.
    """

    value: float
    interval: Interval
    kind: str


def paired_difference(metric: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> PairedDifference | None:
    """Compute the difference of a metric between two systems that were measured in the same way.

    A metric that each clip has for itself is compared clip by clip, for clips of the same id: in a study, or with the
    same prompts and seeds, ids name the same request. Distances to the same real clips are compared by leaving blocks
    of real clips out of both at once.

    Args:
        metric: Name of the metric.
        first: Results of one system, as `evaluation.comparison.read_results` returns them.
        second: Results of the other.

    Returns:
        The difference, second minus first. None if the metric has neither values per clip nor a jackknife.
    """
    distances = [results.get("jackknife", {}).get(metric) for results in (first, second)]
    if all(distances) and _same_blocks(*(one["without"] for one in distances)):
        joint = Jackknife.difference(*(_read(one) for one in reversed(distances)))
        return PairedDifference(joint.value, joint.interval(joint.value), "joint jackknife of both distances")
    values = [
        {name: clip[metric] for name, clip in results.get("clips", {}).items() if _is_number(clip.get(metric))}
        for results in (first, second)
    ]
    shared = sorted(values[0].keys() & values[1].keys())
    if not shared:
        return None
    pairs = np.array([values[1][name] - values[0][name] for name in shared], dtype=np.float64)
    return PairedDifference(float(pairs.mean()), mean(pairs), f"paired over {len(pairs)} clips")


def _same_blocks(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> bool:
    """Return whether both distances leave out the same blocks of real clips, and enough of them."""
    return len(first[1]) == len(second[1]) and min(map(len, (*first, *second))) >= 3


def _read(plain: Mapping[str, Any]) -> Jackknife:
    return Jackknife(plain["value"], tuple(np.array(side, dtype=np.float64) for side in plain["without"]))


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that float64 holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max

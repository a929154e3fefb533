"""From measures of clips to named metrics: value, interval, its kind, n, unit and which way is better."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation import intervals
from evaluation.intervals import Interval
from evaluation.measures import KnownClips

__all__ = ["Better", "Score", "plain", "summarise"]

Better = Literal["lower", "higher", "one", "neither"]


@dataclass(frozen=True)
class Score:
    """One number of the results.

    Attributes:
        value: NaN where nothing could be measured (written as null).
        interval: At 95 %; None where n is too small.
        interval_kind: How the interval was made, and of what.
        n: Clips that count.
        better: ``one`` is best near 1; ``neither`` describes, and has no best.
        unit: Of value and interval.
    """

    value: float
    interval: Interval
    interval_kind: str
    n: int
    better: Better
    unit: str

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def summarise(clips: KnownClips, rates: tuple[float, ...]) -> tuple[dict[str, Score], dict[str, dict[str, float]]]:
    """Every measure over all clips, and values by frame rate."""
    verdict, held_out = clips.verdict, clips.held_out
    scores = {
        "appearance": _share(clips.appearance),
        "appearance-held-out": _share(clips.appearance[held_out]),
        "law": _share(verdict.follows),
        "law-seen": _share(verdict.follows[~held_out]),
        "law-held-out": _share(verdict.follows[held_out]),
        "law-forced-choice": _share(verdict.fits_best),
        "speed-ratio": _median(verdict.speed),
    }
    scores |= {f"speed-ratio@{rate:g}": _median(verdict.speed[clips.fps == rate]) for rate in rates}
    scores["arc-slope"] = _slope(clips)
    scores["flicker"] = _mean(clips.flicker)
    return scores, {f"{rate:g}": _at_rate(clips, clips.fps == rate) for rate in rates}


def _at_rate(clips: KnownClips, chosen: NDArray[np.bool_]) -> dict[str, float]:
    verdict = clips.verdict
    scores = {
        "appearance": _share(clips.appearance[chosen]),
        "law": _share(verdict.follows[chosen]),
        "law-forced-choice": _share(verdict.fits_best[chosen]),
        "speed-ratio": _median(verdict.speed[chosen]),
        "flicker": _mean(clips.flicker[chosen]),
    }
    return {name: score.value for name, score in scores.items()} | {"n": int(chosen.sum())}


def _share(right: NDArray[np.bool_]) -> Score:
    n, value = len(right), float(right.mean()) if len(right) else float("nan")
    return Score(value, intervals.wilson(int(right.sum()), n), "Wilson score, 95 %", n, "higher", "share of clips")


def _median(ratios: NDArray[np.float64]) -> Score:
    """Over every clip that shows an object: keeping those that obey the law only would make any speed look right."""
    kept = ratios[np.isfinite(ratios)]
    value = float(np.median(kept)) if len(kept) else float("nan")
    kind = "order statistics of the median, 95 %"
    return Score(value, intervals.median(kept), kind, len(kept), "one", "of the law's speed")


def _mean(values: NDArray[np.float64]) -> Score:
    value = float(values.mean()) if len(values) else float("nan")
    return Score(value, intervals.mean(values), "Student's t of the mean, 95 %", len(values), "lower", "grey levels")


def _slope(clips: KnownClips) -> Score:
    n = len(clips.ids)
    kind = "delete-one jackknife, 95 %"
    slope = clips.arc_slope(np.arange(n)) if n else float("nan")
    interval = intervals.jackknife(clips.arc_slope, n)
    return Score(slope, interval, kind, int(np.isfinite(clips.arc).sum()), "one", "log-log slope")


def plain(value: Any) -> Any:
    """Tuples to lists, and None for every number that JSON does not have."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

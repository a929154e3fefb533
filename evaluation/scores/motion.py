"""Motion that no network has to be trained for: displacement, flicker, consistency, loops and frozen frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evaluation import intervals
from evaluation.motion.extractor import NAMES
from evaluation.scores.base import Better, Measured, Metric, Outcome, Score

__all__ = ["MotionMeasures", "motion_scores"]

# Unit, and which way is better: displacement has no better, loops are one wish among others.
_KINDS: dict[str, tuple[str, Better]] = {
    "displacement": ("widths per frame", "neither"),
    "moving_displacement": ("widths per frame", "neither"),
    "warped_flicker": ("grey levels", "lower"),
    "compared_share": ("share of pixels", "higher"),
    "temporal_consistency": ("SSIM", "higher"),
    "loop_closure": ("median steps", "neither"),
    "freeze_share": ("share of steps", "lower"),
}


@dataclass(frozen=True)
class MotionMeasures(Metric):
    """All measures of `evaluation.motion`, of the generated clips; those of the real ones are the reference.

    Attributes:
        of: The extractor.
    """

    of: str

    kind: ClassVar[str] = "motion"
    roles = {"of": ("motion",)}

    def outcome(self, name: str, measured: Measured) -> Outcome:
        """All measures; those of the real clips are the reference."""
        found, cuts = measured.features(self.of, "generated"), measured.cuts("generated")
        values, asked = found.values[:, 0], bool(measured.rates)
        scores = motion_scores(values, np.array([cut.fps for cut in cuts]), found.groups, asked)
        clips = {key: dict(zip(NAMES, row.tolist(), strict=True)) for key, row in zip(found.ids, values, strict=True)}
        reference: dict[str, float] = {}
        if real := measured.cuts("real"):
            truth = measured.features(self.of, "real")
            told = motion_scores(truth.values[:, 0], np.array([cut.fps for cut in real]), truth.groups, asked)
            reference = {key: score.value for key, score in told.items()}
        return Outcome(scores, clips=clips, reference=reference)


def motion_scores(
    values: NDArray[np.floating], fps: NDArray[np.float64], own_groups: Sequence[str], asked: bool
) -> dict[str, Score]:
    """Means over source videos of what `evaluation.motion.extractor.Motion` measured.

    Args:
        values: Shape (N, 7), in the order of `NAMES`.
        fps: Frames per second of each clip, (N,).
        own_groups: Of each clip.
        asked: Whether the rates were asked for. Then values by rate are added, and how motion grows with the time
            between frames; other films' own rates tell of the films, not of time.
    """
    groups, known = np.array(own_groups), np.unique(fps) if asked else fps[:0]
    chosen = {"": np.full(len(fps), True)} | ({f"@{rate:g}": fps == rate for rate in known} if len(known) > 1 else {})
    scores = {
        f"{name.replace('_', '-')}{suffix}": _mean(values[rows, column], groups[rows], *_KINDS[name])
        for suffix, rows in chosen.items()
        for column, name in enumerate(NAMES)
    }
    if len(known) > 1:
        scores["displacement-slope"] = _slope(values[:, NAMES.index("moving_displacement")], fps, groups)
    return scores


def _mean(values: NDArray[np.floating], groups: NDArray[np.str_], unit: str, better: Better) -> Score:
    value, interval = intervals.grouped_mean(values.astype(np.float64), groups.tolist())
    kind = "Student's t of the mean over source videos, 95 %"
    return Score(value, interval, kind, int(np.isfinite(values).sum()), better, unit)


def _slope(steps: NDArray[np.floating], fps: NDArray[np.float64], groups: NDArray[np.str_]) -> Score:
    """How the step grows with the time between frames, log-log; still clips keep it from being the mean of slopes."""
    names = list(dict.fromkeys(groups))

    def slope(kept: NDArray[np.intp]) -> float:
        rows = np.isin(groups, [names[number] for number in kept])
        rates = np.unique(fps[rows])
        means = np.array([steps[rows & (fps == rate)].mean() for rate in rates])
        if len(rates) < 2 or not (means > 0).all():
            return float("nan")
        return float(np.polyfit(-np.log(rates), np.log(means), 1)[0])

    interval, kind = intervals.jackknife(slope, len(names)), "delete-one jackknife of source videos, 95 %"
    return Score(slope(np.arange(len(names))), interval, kind, len(steps), "one", "log-log slope")

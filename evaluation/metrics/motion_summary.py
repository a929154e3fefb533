"""Motion of a set of clips by optical flow: displacement, flicker, consistency, loops and repeated frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation import intervals
from evaluation.extractors.motion_measures import NAMES, MotionMeasures
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number, Score
from evaluation.slopes import log_log_slope

__all__ = ["MotionSummary"]

_MEASURES = {
    "displacement": Number(None, "widths per frame"),
    "moving-displacement": Number(None, "widths per frame"),
    "warped-flicker": Number("lower", "gray levels"),
    "compared-share": Number("higher", "share of pixels"),
    "temporal-consistency": Number("higher", "SSIM"),
    "loop-closure": Number(None, "median steps"),
    "freeze-share": Number("lower", "share of steps"),
}


@dataclass(frozen=True)
class MotionSummary(Metric):
    """Means of all motion measures over the generated clips; those of the real clips are the reference.

    Attributes:
        of: Extractor of the measures.
    """

    kind = "motion"
    numbers = (
        _MEASURES
        | {f"{name}@{{fps}}": number for name, number in _MEASURES.items()}
        | {"displacement-slope": Number("one", "log-log slope")}
    )
    roles = {"of": MotionMeasures}
    reads_prompts = False
    independent_of_count = True

    of: str

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute all measures."""
        found, cuts = extracted.features(self.of, "generated"), extracted.cuts("generated")
        values, by_rate = found.values[:, 0], bool(extracted.rates)
        scores = self.summarize(values, np.array([cut.fps for cut in cuts]), found.groups, by_rate)
        clips = {key: dict(zip(NAMES, row.tolist(), strict=True)) for key, row in zip(found.ids, values, strict=True)}
        reference: dict[str, float] = {}
        if real := extracted.cuts("real"):
            truth = extracted.features(self.of, "real")
            of_real = self.summarize(truth.values[:, 0], np.array([cut.fps for cut in real]), truth.groups, by_rate)
            reference = {key: score.value for key, score in of_real.items()}
        return MetricResult(scores, clips=clips, reference=reference)

    @classmethod
    def summarize(
        cls, values: NDArray[np.floating], fps: NDArray[np.float64], groups: Sequence[str], by_rate: bool
    ) -> dict[str, Score]:
        """Average measures over source videos.

        Args:
            values: Output of `MotionMeasures` per clip, shape (N, 7), in the order of `NAMES`.
            fps: Frames per second of each clip, shape (N,).
            groups: Group of each clip.
            by_rate: Whether the frame rates were chosen by the protocol. Then values by rate and the slope of
                displacement are added; rates that the videos happen to have show nothing about time.
        """
        own, rates = np.array(groups), np.unique(fps) if by_rate else fps[:0]
        names = [measure.replace("_", "-") for measure in NAMES]
        scores = {name: cls._mean(name, values[:, column], own) for column, name in enumerate(names)}
        for rate in rates if len(rates) > 1 else ():
            rows = fps == rate
            for column, name in enumerate(names):
                scores[f"{name}@{rate:g}"] = cls._mean(f"{name}@{{fps}}", values[rows, column], own[rows])
        if len(rates) > 1:
            scores["displacement-slope"] = cls._slope(values[:, NAMES.index("moving_displacement")], fps, own)
        return scores

    @classmethod
    def _mean(cls, pattern: str, values: NDArray[np.floating], groups: NDArray[np.str_]) -> Score:
        value, interval = intervals.grouped_mean(values.astype(np.float64), groups.tolist())
        kind = "Student's t of the mean over source videos, 95 %"
        return cls.score(pattern, value, interval, kind, int(np.isfinite(values).sum()))

    @classmethod
    def _slope(cls, steps: NDArray[np.floating], fps: NDArray[np.float64], groups: NDArray[np.str_]) -> Score:
        names = list(dict.fromkeys(groups))

        def slope(kept: NDArray[np.intp]) -> float:
            rows = np.isin(groups, [names[number] for number in kept])
            return log_log_slope(steps[rows], fps[rows])

        interval = intervals.jackknife(slope, len(names))
        kind = "delete-one jackknife of source videos, 95 %"
        return cls.score("displacement-slope", slope(np.arange(len(names))), interval, kind, len(steps))

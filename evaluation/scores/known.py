"""What Shapes World makes knowable: appearance, motion law, speed, flicker."""

from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from evaluation import intervals
from evaluation.extractors.shapes import ShapesImage
from evaluation.measures import KnownClips
from evaluation.scores.base import Measured, Metric, Outcome, Score, Side

__all__ = ["ShapesWorld"]


@dataclass(frozen=True)
class ShapesWorld(Metric):
    """Every measure of clips whose colour and shape are known; others do not count.

    Attributes:
        appearance: The extractor that tells colours and shapes.
        tracks: The extractor that finds the object.
    """

    appearance: str
    tracks: str

    kind: ClassVar[str] = "shapes-world"
    roles = {"appearance": ("shapes-image",), "tracks": ("shapes-tracks",)}

    def outcome(self, name: str, measured: Measured) -> Outcome:
        """All measures, those by frame rate, and what the real clips score."""
        clips = self._known(measured, "generated")
        scores, by_fps = _summarise(clips, measured.rates)
        real = self._known(measured, "real") if measured.cuts("real") else None
        reference = {key: score.value for key, score in _summarise(real, measured.rates)[0].items()} if real else {}
        return Outcome(scores, clips=clips.per_clip(), by_fps=by_fps, reference=reference)

    def _known(self, measured: Measured, side: Side) -> KnownClips:
        tracks, looks = (measured.features(name, side).values for name in (self.tracks, self.appearance))
        network = cast(ShapesImage, measured.network(self.appearance))
        return KnownClips(measured.cuts(side), tracks, looks, network)


def _summarise(clips: KnownClips, rates: tuple[float, ...]) -> tuple[dict[str, Score], dict[str, dict[str, float]]]:
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

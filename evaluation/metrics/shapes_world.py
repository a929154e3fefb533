"""What is measurable where the content is known (Shapes World): appearance, motion law, speed and flicker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from evaluation import intervals
from evaluation.cuts import Cut
from evaluation.extractors.object_tracks import ObjectTracks
from evaluation.extractors.shapes_image import ShapesImage
from evaluation.extractors.shapes_layers import APPEARANCE
from evaluation.ground_truth.law_accuracy import Verdict, judge
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number, Score, Side
from evaluation.slopes import log_log_slope
from mav_lightning.common.shapes_world.laws import Level
from mav_lightning.common.shapes_world.scene import HELD_OUT_PAIRS

__all__ = ["EasyShapesWorld", "KnownClips", "ShapesWorld", "is_known"]

_RIGHT_FRAMES = 0.75  # fraction of a clip's frames that must show the captioned appearance
_ATTRIBUTES = ("colour", "shape")
_CLIPS, _SPEED = "share of clips", "of the law's speed"


@dataclass(frozen=True)
class ShapesWorld(Metric):
    """All measures of Shapes World clips; clips whose color and shape are not recorded are left out.

    Attributes:
        appearance: Extractor that classifies colors and shapes.
        tracks: Extractor that tracks the object.
    """

    kind = "shapes-world"
    numbers = {
        "appearance": Number("higher", _CLIPS),
        "appearance-held-out": Number("higher", _CLIPS),
        "law": Number("higher", _CLIPS),
        "law-seen": Number("higher", _CLIPS),
        "law-held-out": Number("higher", _CLIPS),
        "law-forced-choice": Number("higher", _CLIPS),
        "speed-ratio": Number("one", _SPEED),
        "speed-ratio@{fps}": Number("one", _SPEED),
        "arc-slope": Number("one", "log-log slope"),
        "flicker": Number("lower", "gray levels"),
    }
    roles = {"appearance": ShapesImage, "tracks": ObjectTracks}
    level: ClassVar[Level] = "hard"
    needs_facts = frozenset(_ATTRIBUTES)
    independent_of_count = True

    appearance: str
    tracks: str

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute all measures, overall and by frame rate, for generated and real clips."""
        clips, rates = self._known(extracted, "generated"), extracted.rates
        by_fps = {f"{rate:g}": self._values_at(clips, clips.fps == rate) for rate in rates}
        real = self._known(extracted, "real") if extracted.cuts("real") else None
        reference = {key: score.value for key, score in self._scores(real, rates).items()} if real else {}
        return MetricResult(self._scores(clips, rates), clips=clips.per_clip(), by_fps=by_fps, reference=reference)

    def _known(self, extracted: ExtractedFeatures, side: Side) -> "KnownClips":
        tracks, features = (extracted.features(name, side).values for name in (self.tracks, self.appearance))
        network = cast(ShapesImage, extracted.network(self.appearance))
        return KnownClips(extracted.cuts(side), tracks, features, network, self.level)

    def _scores(self, clips: "KnownClips", rates: tuple[float, ...]) -> dict[str, Score]:
        verdict, held_out = clips.verdict, clips.held_out
        shares = {
            "appearance": clips.appearance,
            "appearance-held-out": clips.appearance[held_out],
            "law": verdict.follows,
            "law-seen": verdict.follows[~held_out],
            "law-held-out": verdict.follows[held_out],
            "law-forced-choice": verdict.fits_best,
        }
        scores = {name: self._share(name, right) for name, right in shares.items()}
        scores["speed-ratio"] = self._median("speed-ratio", verdict.speed)
        scores |= {
            f"speed-ratio@{rate:g}": self._median("speed-ratio@{fps}", verdict.speed[clips.fps == rate])
            for rate in rates
        }
        scores["arc-slope"] = self._slope(clips)
        scores["flicker"] = self._mean("flicker", clips.flicker)
        return scores

    def _values_at(self, clips: "KnownClips", chosen: NDArray[np.bool_]) -> dict[str, float]:
        """Return values of the clips at one frame rate, and their number."""
        verdict = clips.verdict
        scores = {
            "appearance": self._share("appearance", clips.appearance[chosen]),
            "law": self._share("law", verdict.follows[chosen]),
            "law-forced-choice": self._share("law-forced-choice", verdict.fits_best[chosen]),
            "speed-ratio": self._median("speed-ratio", verdict.speed[chosen]),
            "flicker": self._mean("flicker", clips.flicker[chosen]),
        }
        return {name: score.value for name, score in scores.items()} | {"n": int(chosen.sum())}

    def _share(self, name: str, right: NDArray[np.bool_]) -> Score:
        n, value = len(right), float(right.mean()) if len(right) else float("nan")
        return self.score(name, value, intervals.wilson(int(right.sum()), n), "Wilson score, 95 %", n)

    def _median(self, name: str, ratios: NDArray[np.float64]) -> Score:
        """Score every clip that shows an object: keeping only those that follow the law would make any speed right."""
        kept = ratios[np.isfinite(ratios)]
        value = float(np.median(kept)) if len(kept) else float("nan")
        return self.score(name, value, intervals.median(kept), "order statistics of the median, 95 %", len(kept))

    def _mean(self, name: str, values: NDArray[np.float64]) -> Score:
        value = float(values.mean()) if len(values) else float("nan")
        return self.score(name, value, intervals.mean(values), "Student's t of the mean, 95 %", len(values))

    def _slope(self, clips: "KnownClips") -> Score:
        n = len(clips.ids)
        slope = clips.arc_slope(np.arange(n)) if n else float("nan")
        interval = intervals.jackknife(clips.arc_slope, n)
        return self.score("arc-slope", slope, interval, "delete-one jackknife, 95 %", int(np.isfinite(clips.arc).sum()))


@dataclass(frozen=True)
class EasyShapesWorld(ShapesWorld):
    """The same measures of clips of level easy."""

    kind = "shapes-world-easy"
    level: ClassVar[Level] = "easy"


class KnownClips:
    """Columns over the N clips whose attributes name a color and a shape of Shapes World; each of shape (N,).

    Args:
        cuts: All clips.
        tracks: Output of `ObjectTracks` for all clips, shape (clips, T, 3).
        features: Output of `network` for all clips, shape (clips, T, d).
        network: Classifier of colors and shapes.
        level: Motion laws that the shapes follow.

    Attributes:
        ids: Id of each clip.
        fps: Frames per second.
        held_out: Whether the color and the shape never occur together in a training clip.
        appearance: Whether color and shape are both right in at least three quarters of the frames.
        flicker: Change that motion does not explain, in gray levels.
        arc: Mean step of the object's center between frames, in frame widths; NaN if a frame shows no object.
    """

    def __init__(
        self,
        cuts: Sequence[Cut],
        tracks: NDArray[np.floating],
        features: NDArray[np.floating],
        network: ShapesImage,
        level: Level,
    ) -> None:
        rows = [row for row, cut in enumerate(cuts) if is_known(cut)]
        known = [cuts[row] for row in rows]
        facts = [cut.source.attributes for cut in known]
        self.ids = [cut.id for cut in known]
        self.fps = np.array([cut.fps for cut in known])
        self.held_out = np.array([(own["colour"], own["shape"]) in HELD_OUT_PAIRS for own in facts], dtype=bool)
        self.appearance = _fraction_right(features[rows], facts, network) >= _RIGHT_FRAMES
        self.flicker = tracks[rows, 0, 2].astype(np.float64)
        self._level: Level = level
        self._shapes, self._tracks = [own["shape"] for own in facts], tracks[rows, :, :2].astype(np.float64)
        self.arc = np.linalg.norm(np.diff(self._tracks, axis=1), axis=2).mean(axis=1)

    @cached_property
    def verdict(self) -> Verdict:
        """Judgement of every clip's motion."""
        return judge(self._tracks, self.fps, self._shapes, self._level)

    def arc_slope(self, rows: NDArray[np.intp]) -> float:
        """Compute the log-log slope of the mean step over the time between frames.

        Clips that play in real time have nearly 1: steps grow with the time between frames, but rebounds cut corners.
        Clips that ignore the frame rate have 0.

        Args:
            rows: Clips to use.

        Returns:
            The slope, NaN with fewer than two frame rates.
        """
        rows = rows[np.isfinite(self.arc[rows])]
        return log_log_slope(self.arc[rows], self.fps[rows])

    def per_clip(self) -> dict[str, dict[str, Any]]:
        """Return id → measured values of the clip, as plain data."""
        verdict = self.verdict
        columns: Mapping[str, NDArray[Any]] = {
            "fps": self.fps,
            "held_out": self.held_out,
            "appearance": self.appearance,
            "law": verdict.follows,
            "law_forced_choice": verdict.fits_best,
            "law_residual": verdict.residual,
            "law_unexplained": verdict.unexplained,
            "speed_ratio": verdict.speed,
            "flicker": self.flicker,
        }
        return {name: {key: column[row].item() for key, column in columns.items()} for row, name in enumerate(self.ids)}


def is_known(cut: Cut) -> bool:
    """Return whether a clip's attributes name a color and a shape of Shapes World."""
    return all(cut.source.attributes.get(key) in APPEARANCE[key] for key in _ATTRIBUTES)


def _fraction_right(
    features: NDArray[np.floating], facts: Sequence[dict[str, str]], network: ShapesImage
) -> NDArray[np.float64]:
    """Return the fraction of each clip's frames that show the captioned color and shape, shape (N,)."""
    with torch.no_grad():
        logits = network.classify(rearrange(torch.from_numpy(features), "n t d -> (n t) d"))
    right = np.ones(features.shape[:2], bool)
    for key in _ATTRIBUTES:
        classes = np.array([APPEARANCE[key].index(own[key]) for own in facts], dtype=int)
        right &= logits[key].argmax(dim=1).numpy().reshape(right.shape) == classes[:, None]
    return np.asarray(right.mean(axis=1))

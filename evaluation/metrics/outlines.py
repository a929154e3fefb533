"""Outlines of Shapes World objects: whether they keep their shape through super-resolution."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation import intervals
from evaluation.extractors.object_outlines import ObjectOutlines
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number, Score, Side
from evaluation.metrics.shapes_world import is_known
from mav_lightning.common.shapes_world.scene import SHAPES

__all__ = ["Outlines"]

_NUMBERS = ("{name}", "{name}-right")


@dataclass(frozen=True)
class Outlines(Metric):
    """Overlap of the object's outline with the captioned shape, averaged over clips whose shape is known.

    Attributes:
        of: Extractor of the overlaps.
    """

    kind = "outlines"
    numbers = {
        "{name}": Number("higher", "intersection over union"),
        "{name}-right": Number("higher", "share of frames that overlap the captioned shape most"),
    }
    roles = {"of": ObjectOutlines}
    needs_facts = frozenset({"colour", "shape"})
    independent_of_count = True

    of: str

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute both numbers, their values for each clip, and those of the real clips."""
        ids, values = self._per_clip(extracted, "generated")
        scores = {key.format(name=name): self._mean(key, column) for key, column in zip(_NUMBERS, values, strict=True)}
        clips = {clip: dict(zip(scores, map(float, own), strict=True)) for clip, own in zip(ids, values.T, strict=True)}
        real = self._per_clip(extracted, "real")[1] if extracted.cuts("real") else np.empty((2, 0))
        reference = dict(zip(scores, map(float, real.mean(axis=1)), strict=True)) if real.size else {}
        return MetricResult(scores, clips=clips, reference=reference)

    def _per_clip(self, extracted: ExtractedFeatures, side: Side) -> tuple[list[str], NDArray[np.float64]]:
        """Return the ids of the N known clips, and their mean overlap and share of right frames, shape (2, N)."""
        cuts = extracted.cuts(side)
        known = [row for row, cut in enumerate(cuts) if is_known(cut)]
        overlap = extracted.features(self.of, side).values[known].astype(np.float64)
        own = np.array([SHAPES.index(cuts[row].source.attributes["shape"]) for row in known], dtype=np.intp)
        right = overlap[np.arange(len(known)), :, own]
        best = (overlap.argmax(axis=2) == own[:, None]) & (right > 0)
        return [cuts[row].id for row in known], np.stack([right.mean(axis=1), best.mean(axis=1)])

    def _mean(self, name: str, values: NDArray[np.float64]) -> Score:
        value = float(values.mean()) if len(values) else float("nan")
        return self.score(name, value, intervals.mean(values), "Student's t of the mean, 95 %", len(values))

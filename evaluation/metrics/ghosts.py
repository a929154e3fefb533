"""Ghosts of interpolated clips: a faint object in two places at once, as frame blending produces."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from evaluation import intervals
from evaluation.extractors.object_areas import ObjectAreas
from evaluation.ground_truth.ghosting import ghosting
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError

__all__ = ["Ghosts"]


@dataclass(frozen=True)
class Ghosts(Metric):
    """How much more area the object covers in interpolated frames than in given ones, averaged over source videos.

    Attributes:
        of: Extractor of the object's area.
        every: Frame skip of the interpolation: frames 0, `every`, 2 · `every`, … were given.
    """

    kind = "ghosts"
    numbers = {"{name}": Number("lower", "share of the object's area")}
    roles = {"of": ObjectAreas}
    independent_of_count = True

    of: str
    every: Annotated[int, Ge(2)]

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute the mean growth of the area, its value for each clip, and its mean over the real clips.

        Raises:
            UserError: If clips have no interpolated frame.
        """
        found = extracted.features(self.of, "generated")
        growth = self._growth(name, found.values)
        value, interval = intervals.grouped_mean(growth, found.groups)
        kind, n = "Student's t of the mean over source videos, 95 %", int(np.isfinite(growth).sum())
        score = self.score("{name}", value, interval, kind, n)
        clips = {key: {name: float(own)} for key, own in zip(found.ids, growth, strict=True)}
        reference: dict[str, float] = {}
        if extracted.cuts("real"):
            real = extracted.features(self.of, "real")
            reference = {name: intervals.grouped_mean(self._growth(name, real.values), real.groups)[0]}
        return MetricResult({name: score}, clips=clips, reference=reference)

    def _growth(self, name: str, values: np.ndarray) -> np.ndarray:
        areas = values[:, :, 0].astype(np.float64)
        given = np.arange(areas.shape[1]) % self.every == 0
        if given.all():
            raise UserError(
                f"{name}: clips of {counted(areas.shape[1], 'frame')} have no frame between given ones; use longer "
                "clips."
            )
        return ghosting(areas, given)

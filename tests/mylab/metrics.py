"""A metric of one's own over an extractor that exists: how far apart the mean features are."""

from dataclasses import dataclass

import numpy as np

from evaluation.extractors.base import ClipFeatures
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number

__all__ = ["MeanDistance"]


@dataclass(frozen=True)
class MeanDistance(Metric):
    """Distance of the means of generated and real features.

    Attributes:
        of: Name of the extractor.
    """

    of: str

    numbers = {"{name}": Number("lower", "feature units")}
    roles = {"of": ClipFeatures}
    needs_real = True

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute the distance."""
        generated, real = (extracted.features(self.of, side).values for side in ("generated", "real"))
        distance = float(np.linalg.norm(generated.mean(axis=(0, 1)) - real.mean(axis=(0, 1))))
        return MetricResult({name: self.score("{name}", distance, None, "none", len(generated))})

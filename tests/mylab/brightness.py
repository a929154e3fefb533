"""A metric of one's own with an extractor of one's own: the mean brightness of a clip."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import ExtractorSettings, LoadedExtractor, Measurement
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number

__all__ = ["Brightness", "BrightnessOfClips"]


class BrightnessMeasurement(Measurement):
    """Mean grey level of a clip: (N, 1, 1)."""

    def prepare(self, clip: Clip) -> Tensor:
        """Return the mean of all pixels, shape (1, 1)."""
        return torch.tensor([[float(clip.pixels.mean())]])


@dataclass(frozen=True)
class BrightnessOfClips(ExtractorSettings):
    """Settings of the extractor: there are none."""

    network = BrightnessMeasurement

    def load(self, weights: Path) -> LoadedExtractor:
        """Return the measurement."""
        return LoadedExtractor(BrightnessMeasurement())


@dataclass(frozen=True)
class Brightness(Metric):
    """Mean brightness of the generated clips.

    Attributes:
        of: Name of the extractor.
    """

    of: str

    numbers = {"{name}": Number(None, "grey levels")}
    roles = {"of": BrightnessMeasurement}
    reads_real = False

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Return the mean over clips."""
        values = extracted.features(self.of, "generated").values
        return MetricResult({name: self.score("{name}", float(values.mean()), None, "none", len(values))})

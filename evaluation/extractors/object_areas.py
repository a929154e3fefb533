"""Area of the Shapes World object, measured per frame."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Measurement, MeasurementSettings
from evaluation.ground_truth.ghosting import object_area
from evaluation.resize import check_frames

__all__ = ["ObjectAreas", "ObjectAreasSettings"]


class ObjectAreas(Measurement):
    """One row per frame: the area that the object is spread over, in pixels; see `object_area`."""

    def prepare(self, clip: Clip) -> Tensor:
        """Measure a clip: shape (T, 1), float64."""
        check_frames(clip.pixels)
        return torch.from_numpy(object_area(clip.pixels)[:, None])


@dataclass(frozen=True)
class ObjectAreasSettings(MeasurementSettings):
    """Settings of `ObjectAreas`; there are none."""

    kind = "shapes-areas"
    network = ObjectAreas
    metric_prefix = "shapes-"

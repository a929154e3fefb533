"""Centre and flicker of the Shapes World object, measured per clip."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Measurement, MeasurementSettings
from evaluation.ground_truth.flicker import flicker
from evaluation.ground_truth.object_tracking import track
from evaluation.resize import check_frames

__all__ = ["ObjectTracks", "ObjectTracksSettings"]


class ObjectTracks(Measurement):
    """One row per frame: the object's center (x, y) in frame widths, and the clip's flicker in gray levels.

    The center is NaN in frames that show no object.
    """

    def prepare(self, clip: Clip) -> Tensor:
        """Measure a clip: shape (T, 3), float64."""
        check_frames(clip.pixels)
        centers = track(clip.pixels)
        flickers = np.full((len(centers), 1), flicker(clip.pixels, centers, clip.fps))
        return torch.from_numpy(np.concatenate([centers, flickers], axis=1))


@dataclass(frozen=True)
class ObjectTracksSettings(MeasurementSettings):
    """Settings of `ObjectTracks`; there are none."""

    kind = "shapes-tracks"
    network = ObjectTracks
    metric_prefix = "shapes-"

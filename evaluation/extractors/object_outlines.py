"""Overlap of the Shapes World object's outline with every shape, measured per frame."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Measurement, MeasurementSettings
from evaluation.ground_truth.object_tracking import CORE, chroma, object_weight, track
from evaluation.resize import check_frames
from mav_lightning.common.shapes_world.scene import SHAPES, Scene, render

__all__ = ["ObjectOutlines", "ObjectOutlinesSettings", "outline_overlap"]


def outline_overlap(video: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the intersection over union of the object's silhouette and each shape, drawn at the object's own center.

    A silhouette is where the chroma is at least half of the object's median. Position does not count, size does. At 64
    pixels, a shape and itself have 0.99 on average, a circle and a square 0.80.

    Args:
        video: Clip of square frames, shape (T, S, S, 3), uint8.

    Returns:
        Overlap with every shape, in the order of `SHAPES`, shape (T, 4), in [0, 1]; 0 in frames without one object.
    """
    centers = track(video)
    overlap = np.zeros((len(video), len(SHAPES)))
    found = np.isfinite(centers[:, 0])
    seen = _silhouettes(video[found])
    for column, shape in enumerate(SHAPES):
        ideal = _silhouettes(render(Scene("red", shape, "dark"), centers[found], video.shape[1]))
        overlap[found, column] = (seen & ideal).sum(axis=(1, 2)) / (seen | ideal).sum(axis=(1, 2))
    return overlap


def _silhouettes(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which pixels show the object, from frames that show one: (T, H, W, 3) to (T, H, W)."""
    saturation, core = chroma(frames), object_weight(frames) > CORE
    typical = np.array([np.median(values[own]) for values, own in zip(saturation, core, strict=True)])
    return saturation >= typical[:, None, None] / 2


class ObjectOutlines(Measurement):
    """One row per frame: the overlap of the object's outline with each shape; see `outline_overlap`."""

    def prepare(self, clip: Clip) -> Tensor:
        """Measure a clip of square frames: shape (T, 4), float64."""
        check_frames(clip.pixels)
        return torch.from_numpy(outline_overlap(clip.pixels))


@dataclass(frozen=True)
class ObjectOutlinesSettings(MeasurementSettings):
    """Settings of `ObjectOutlines`; there are none."""

    kind = "shapes-outlines"
    network = ObjectOutlines
    metric_prefix = "shapes-"

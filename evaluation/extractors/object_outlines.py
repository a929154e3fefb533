"""Overlap of the Shapes World object's outline with every shape, measured per frame."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import ExtractorSettings, LoadedExtractor, Measurement
from evaluation.ground_truth.object_tracking import object_weight, track
from evaluation.resize import check_frames
from mav_lightning.common.shapes_world.scene import SHAPES, Scene, render

__all__ = ["ObjectOutlines", "ObjectOutlinesSettings", "outline_overlap"]


def outline_overlap(video: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the overlap of the object's silhouette with each shape, drawn at the object's own center.

    It is the intersection over union of two coverages: per pixel, the smaller of both, summed, over the larger, summed.
    Position does not count, size does. A shape and itself have 1; at 64 pixels, a circle and a square have 0.85.

    Args:
        video: Clip of square frames, shape (T, S, S, 3), uint8.

    Returns:
        Overlap with every shape, in the order of `SHAPES`, shape (T, 4), in [0, 1]; 0 in frames without one object.
    """
    centers, seen = track(video), object_weight(video)
    overlap = np.zeros((len(video), len(SHAPES)))
    found = np.isfinite(centers[:, 0])
    for column, shape in enumerate(SHAPES):
        ideal = object_weight(render(Scene("red", shape, "dark"), centers[found], video.shape[1]))
        both, either = np.minimum(seen[found], ideal), np.maximum(seen[found], ideal)
        overlap[found, column] = both.sum(axis=(1, 2)) / either.sum(axis=(1, 2))
    return overlap


class ObjectOutlines(Measurement):
    """One row per frame: the overlap of the object's outline with each shape; see `outline_overlap`."""

    def prepare(self, clip: Clip) -> Tensor:
        """Measure a clip of square frames: shape (T, 4), float64."""
        check_frames(clip.pixels)
        return torch.from_numpy(outline_overlap(clip.pixels))


@dataclass(frozen=True)
class ObjectOutlinesSettings(ExtractorSettings):
    """Settings of `ObjectOutlines`; there are none."""

    kind = "shapes-outlines"
    network = ObjectOutlines
    metric_prefix = "shapes-"

    def load(self, weights: Path) -> LoadedExtractor:
        """Return the measurement; `weights` is not used."""
        return LoadedExtractor(ObjectOutlines())

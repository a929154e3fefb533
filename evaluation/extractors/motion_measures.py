"""Motion measures by optical flow, computed per clip as an extractor, so that they are cached like any features."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Measurement, MeasurementSettings
from evaluation.motion.flow_measures import (
    freeze_share,
    loop_closure,
    moving_displacement,
    temporal_consistency,
    warped_flicker,
)
from mav_lightning.media.optical_flow import displacement, flow_of
from mav_lightning.media.working_size import at_working_size

__all__ = ["NAMES", "MotionMeasures", "MotionMeasuresSettings"]

NAMES = (
    "displacement",
    "moving_displacement",
    "warped_flicker",
    "compared_share",
    "temporal_consistency",
    "loop_closure",
    "freeze_share",
)


class MotionMeasures(Measurement):
    """One row of values per clip, in the order of `NAMES`.

    All values of a clip of one frame are NaN, and so is the loop closure of two frames.
    """

    def prepare(self, clip: Clip) -> Tensor:
        """Measure one clip of any size: shape (1, 7), float32.

        Raises:
            UserError: If the frames are not (T, H, W, 3) uint8, or their longer side is more than eight times the
                shorter.
        """
        frames = at_working_size(clip.pixels)
        if len(frames) < 2:
            return torch.full((1, len(NAMES)), float("nan"))
        flow = flow_of(frames)
        values = (
            displacement(flow),
            moving_displacement(flow),
            *warped_flicker(frames, flow),
            temporal_consistency(frames, flow),
            loop_closure(frames) if len(frames) > 2 else float("nan"),
            freeze_share(frames),
        )
        return torch.tensor([values], dtype=torch.float32)


@dataclass(frozen=True)
class MotionMeasuresSettings(MeasurementSettings):
    """Settings of `MotionMeasures`; there are none."""

    kind = "motion"
    network = MotionMeasures

"""All measures of motion as one extractor, so that they are stored, resumed and given intervals like any feature."""

import torch
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Extractor
from evaluation.motion.flow import flow_of
from evaluation.motion.measures import (
    displacement,
    freeze_share,
    loop_closure,
    moving_displacement,
    temporal_consistency,
    warped_flicker,
)
from evaluation.motion.working_size import at_working_size

__all__ = ["NAMES", "Motion"]

NAMES = (
    "displacement",
    "moving_displacement",
    "warped_flicker",
    "compared_share",
    "temporal_consistency",
    "loop_closure",
    "freeze_share",
)


class Motion(Extractor):
    """One row of values a clip, in the order of `NAMES`; NaN where a value is undefined.

    Nothing is defined for one frame, and loop closure is not for two.
    """

    finite = False

    def prepare(self, clip: Clip) -> Tensor:
        """Measures one clip of any size: shape (1, 7), float32.

        Raises:
            UserError: Frames that are not (T, H, W, 3) uint8, or longer than eight times their shorter side.
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

    def forward(self, prepared: Tensor) -> Tensor:
        """Gives the values on: (N, 1, 7) → (N, 1, 7)."""
        return prepared

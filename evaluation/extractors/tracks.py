"""Where the object of Shapes World is and how much it flickers, as an extractor, so that it is stored and resumed."""

import numpy as np
import torch
from torch import Tensor

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Extractor
from evaluation.ground_truth.flicker import flicker
from evaluation.ground_truth.object_tracking import track
from evaluation.resize import check_frames

__all__ = ["Tracks"]


class Tracks(Extractor):
    """One row a frame: centre (x, y) in widths, NaN where there is none; and the clip's flicker, in grey levels."""

    finite = False

    def prepare(self, clip: Clip) -> Tensor:
        """(T, 3), float64."""
        check_frames(clip.pixels)
        centres = track(clip.pixels)
        unrest = np.full((len(centres), 1), flicker(clip.pixels, centres, clip.fps))
        return torch.from_numpy(np.concatenate([centres, unrest], axis=1))

    def forward(self, prepared: Tensor) -> Tensor:
        """Gives the values on: (N, T, 3) → (N, T, 3)."""
        return prepared

"""Ghosts: an object in two places at once, each of them faint, as blending makes it."""

import numpy as np
from numpy.typing import NDArray

from evaluation.ground_truth.object_tracking import chroma

__all__ = ["ghosting"]

_NOISE = 16.0  # grey levels of colour that a generated ground may have; a quarter of the palest object has 37


def ghosting(video: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much more of the frame the object is spread over between known frames than in them.

    An object blended with itself elsewhere covers more, and covers it faintly. Its area is counted as the participation
    ratio (Σc)² / Σc² of the pixels' colourfulness above the ground's noise: a solid object's own area, twice that for
    two faint ones apart.

    Args:
        video: Clips of Shapes World, shape (N, T, H, W, 3), uint8.
        known: Frames that were given, shape (T,); some are, and some are not.

    Returns:
        Mean growth of each clip as a share of the area in known frames, shape (N,): about 0 for real clips, at most 1.
    """
    colour = np.maximum(chroma(video).astype(np.float64) - _NOISE, 0.0)
    area = colour.sum(axis=(-2, -1)) ** 2 / np.maximum(np.square(colour).sum(axis=(-2, -1)), 1e-9)
    usual = np.median(area[:, known], axis=1, keepdims=True)
    return (area[:, ~known] / np.maximum(usual, 1e-9) - 1).mean(axis=1)

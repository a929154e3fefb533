"""Ghosts: an object in two places at once, each of them faint, as blending makes it."""

import numpy as np
from numpy.typing import NDArray

from evaluation.ground_truth.tracking import chroma

__all__ = ["ghosting"]


def ghosting(video: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much more of the frame the object is spread over between known frames than in them.

    An object blended with itself elsewhere covers more, and covers it faintly. Its area is counted as the participation
    ratio of the pixels' colourfulness, (Σc)² / Σc²: a solid object's own area, twice that for two faint ones apart.

    Args:
        video: Clips of Shapes World, shape (N, T, H, W, 3), uint8.
        known: Frames that were given, shape (T,); some are, and some are not.

    Returns:
        Mean growth of each clip as a share of the area in known frames, shape (N,): about 0 for real clips, at most 1.
    """
    colour = chroma(video).astype(np.float64)
    area = colour.sum(axis=(-2, -1)) ** 2 / np.maximum(np.square(colour).sum(axis=(-2, -1)), 1e-9)
    usual = np.median(area[:, known], axis=1, keepdims=True)
    return (area[:, ~known] / np.maximum(usual, 1e-9) - 1).mean(axis=1)

"""Ghosts: a faint object in two places at once, as frame blending produces."""

import numpy as np
from numpy.typing import NDArray

from evaluation.ground_truth.object_tracking import chroma

__all__ = ["ghosting", "object_area"]

_NOISE = 16.0  # gray levels of chroma that a generated ground may have; a quarter of the palest object has 37


def object_area(video: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the area that the object is spread over in every frame.

    It is the participation ratio (Σc)² / Σc² of the pixels' chroma above the noise of the ground: the area of a solid
    object, twice that for two faint ones apart.

    Args:
        video: Clips of Shapes World, shape (..., T, H, W, 3), uint8.

    Returns:
        Areas in pixels, shape (..., T); 0 where a frame shows no object.
    """
    excess = np.maximum(chroma(video).astype(np.float64) - _NOISE, 0.0)
    total = excess.sum(axis=(-2, -1)) ** 2 / np.maximum(np.square(excess).sum(axis=(-2, -1)), 1e-9)
    return np.asarray(total)


def ghosting(areas: NDArray[np.float64], given: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute how much more area the object covers in interpolated frames than in given ones.

    Args:
        areas: From `object_area`, shape (N, T).
        given: Which frames conditioned the interpolation, shape (T,); some but not all.

    Returns:
        Mean growth of each clip as a fraction of the area in given frames, shape (N,): about 0 for real clips, up to 1
        for blends of two frames. NaN for a clip whose given frames show no object.
    """
    usual = np.median(areas[:, given], axis=1, keepdims=True)
    return np.asarray((areas[:, ~given] / np.where(usual > 0, usual, np.nan) - 1).mean(axis=1))

"""Tracking of the Shapes World object by chroma: backgrounds are gray and objects are not."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

__all__ = ["CORE", "chroma", "object_weight", "track"]

CORE = 0.4  # fraction of the strongest chroma: above it is certainly object; compression and sampling noise are below
_LEAST_CHROMA = 48.0  # gray levels; the palest object color has 150, so a third of it still counts
_LEAST_AREA = 0.02  # fraction of the frame; the smallest object covers 0.05
_MOST_SPREAD = 0.17  # RMS distance from the centroid in widths; the largest object has 0.13, two ghosts have more


def chroma(video: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute the maximum minus the minimum of R, G and B: (..., H, W, 3) uint8 → (..., H, W) in [0, 255].

    On a gray background it is linear in the object's coverage of a pixel, which makes centroids exact below one pixel.
    """
    difference: NDArray[np.float32] = (video.max(axis=-1) - video.min(axis=-1)).astype(np.float32)
    return difference


def object_weight(video: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Estimate the object's coverage of each pixel: (..., H, W, 3) uint8 → (..., H, W) in [0, 1], 0 in a gray frame.

    The object is a core of strong chroma and the rim around it. Nothing is subtracted there, so partly covered pixels
    of the rim keep their weight.
    """
    saturation = chroma(video)
    peak = saturation.max(axis=(-2, -1), keepdims=True)
    rim = (1,) * (saturation.ndim - 2) + (2 * max(1, round(saturation.shape[-1] / 16)) + 1,) * 2
    inside = maximum_filter(saturation > CORE * peak, size=rim)
    return np.where(inside & (peak >= _LEAST_CHROMA), saturation / np.maximum(peak, 1.0), 0.0).astype(np.float32)


def track(video: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Find the object's center in every frame.

    Args:
        video: Clips, shape (..., T, H, W, 3), uint8.

    Returns:
        Centers (x right, y down), shape (..., T, 2), in frame widths (heights for y). NaN in frames without one
        object: no saturated pixels, too few, or spread over the frame (noise, two ghosts).
    """
    weight = object_weight(video).astype(np.float64)
    mass = weight.sum(axis=(-2, -1))
    height, width = weight.shape[-2:]
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    columns, rows = weight.sum(axis=-2), weight.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        center = np.stack([columns @ x, rows @ y], axis=-1) / mass[..., None]
        square = (columns @ x**2 + rows @ y**2) / mass
    spread = np.sqrt(np.maximum(square - np.square(center).sum(axis=-1), 0.0))
    seen = (mass >= _LEAST_AREA * height * width) & (spread <= _MOST_SPREAD)
    return np.where(seen[..., None], center, np.nan)

"""Where the object is: grounds are grey and objects are not, so colourfulness alone finds it."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

__all__ = ["chroma", "object_weight", "track"]

_CORE = 0.4  # of the frame's strongest chroma: more is certainly object; compression and sampling noise are less
_LEAST_CHROMA = 48.0  # grey levels; the palest object colour has 150, so a wash of a third of it still counts
_LEAST_AREA = 0.02  # of the frame; the smallest object covers 0.05
_MOST_SPREAD = 0.17  # RMS distance from the centroid in widths; the largest object has 0.13, two ghosts have more


def chroma(video: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Largest minus smallest of R, G and B: (..., H, W, 3) uint8 → (..., H, W) in [0, 255].

    On a grey ground it is linear in the object's coverage of a pixel, which makes centroids exact below one pixel.
    """
    return (video.max(axis=-1) - video.min(axis=-1)).astype(np.float32)


def object_weight(video: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much of the object each pixel holds: (..., H, W, 3) uint8 → (..., H, W) in [0, 1], 0 in a grey frame.

    The object is a core of strong chroma and the rim around it. Within them nothing is subtracted, so that the
    partly covered pixels of the rim keep their share.
    """
    colourful = chroma(video)
    peak = colourful.max(axis=(-2, -1), keepdims=True)
    rim = (1,) * (colourful.ndim - 2) + (2 * max(1, round(colourful.shape[-1] / 16)) + 1,) * 2
    inside = maximum_filter(colourful > _CORE * peak, size=rim)
    return np.where(inside & (peak >= _LEAST_CHROMA), colourful / np.maximum(peak, 1.0), 0.0).astype(np.float32)


def track(video: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Finds the object's centre in every frame.

    Args:
        video: Clips, shape (..., T, H, W, 3), uint8.

    Returns:
        Centres (x right, y down), shape (..., T, 2), in frame widths (heights for y). NaN where a frame shows no
        object: nothing colourful, too little of it, or colour strewn over the frame (noise, two ghosts).
    """
    weight = object_weight(video).astype(np.float64)
    mass = weight.sum(axis=(-2, -1))
    height, width = weight.shape[-2:]
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    columns, rows = weight.sum(axis=-2), weight.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        centre = np.stack([columns @ x, rows @ y], axis=-1) / mass[..., None]
        square = (columns @ x**2 + rows @ y**2) / mass
    spread = np.sqrt(np.maximum(square - np.square(centre).sum(axis=-1), 0.0))
    seen = (mass >= _LEAST_AREA * height * width) & (spread <= _MOST_SPREAD)
    return np.where(seen[..., None], centre, np.nan)

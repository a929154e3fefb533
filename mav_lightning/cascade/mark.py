"""Visible watermark (§4.3) and machine-readable provenance of generated clips."""

import json

import numpy as np
from numpy.typing import NDArray

from mav_lightning import __version__

__all__ = ["CLAIMS", "SOURCE_TYPE", "draw_mark", "has_mark", "provenance"]

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CLAIMS = ("generator", "digital_source_type", "manifest_sha256")  # what a file's metadata claims about its origin
_LEVELS = (255, 0, 255, 0, 255)  # white and black, to show on any background, and gray, to add no color


def draw_mark(clips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw five squares, alternately white and black, into the lower right corner.

    Args:
        clips: Frames, shape (…, H, W, 3), uint8. The side of a square is H / 32, at least one pixel.

    Returns:
        Marked frames of the same shape.
    """
    marked, mark = clips.copy(), _mark(clips.shape[-3])
    marked[..., -mark.shape[0] :, -mark.shape[1] :, :] = mark
    return marked


def has_mark(frames: NDArray[np.uint8]) -> bool:
    """Return whether all frames, shape (T, H, W, 3), have the mark, allowing for lossy compression."""
    mark = _mark(frames.shape[-3])
    if frames.shape[-2] < mark.shape[1]:
        return False
    corner = frames[..., -mark.shape[0] :, -mark.shape[1] :, :].astype(int)
    return bool(np.abs(corner - mark).mean(axis=(-3, -2, -1)).max() < 48)


def provenance(manifest_sha256: str) -> str:
    """Return the claims that the metadata of every file of a folder holds, as JSON.

    Args:
        manifest_sha256: sha256 of the folder's manifest.
    """
    return json.dumps(dict(zip(CLAIMS, (f"mav-lightning {__version__}", SOURCE_TYPE, manifest_sha256), strict=True)))


def _mark(height: int) -> NDArray[np.uint8]:
    side = max(1, height // 32)
    row = np.repeat(np.asarray(_LEVELS, np.uint8), side)
    return np.broadcast_to(row[None, :, None], (side, len(row), 3))

"""The mark on what the cascade makes: one that people see, one that programs read (§4.3: a visible watermark)."""

import json

import numpy as np
from numpy.typing import NDArray

from mav_lightning import __version__

__all__ = ["SOURCE_TYPE", "draw_mark", "has_mark", "provenance"]

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_LEVELS = (255, 0, 255, 0, 255)  # white and black, so that it shows on any ground, and grey, so that no colour is added


def draw_mark(clips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draws a row of five squares, white and black in turn, into the lower right corner: (…, H, W, 3) → the same.

    A square's side is a thirty-second of the height, and at least one pixel.
    """
    marked, mark = clips.copy(), _mark(clips.shape[-3])
    marked[..., -mark.shape[0] :, -mark.shape[1] :, :] = mark
    return marked


def has_mark(frames: NDArray[np.uint8]) -> bool:
    """Whether all frames (T, H, W, 3) bear the mark; a lossy codec may have blurred it."""
    mark = _mark(frames.shape[-3])
    if frames.shape[-2] < mark.shape[1]:
        return False
    corner = frames[..., -mark.shape[0] :, -mark.shape[1] :, :].astype(int)
    return bool(np.abs(corner - mark).mean(axis=(-3, -2, -1)).max() < 48)


def provenance(manifest_sha256: str) -> str:
    """What every file of a folder says of itself, as JSON: who made it, that it is synthetic, its manifest's hash."""
    facts = {
        "generator": f"mav-lightning {__version__}",
        "digital_source_type": SOURCE_TYPE,
        "manifest_sha256": manifest_sha256,
    }
    return json.dumps(facts)


def _mark(height: int) -> NDArray[np.uint8]:
    side = max(1, height // 32)
    row = np.repeat(np.asarray(_LEVELS, np.uint8), side)
    return np.broadcast_to(row[None, :, None], (side, len(row), 3))

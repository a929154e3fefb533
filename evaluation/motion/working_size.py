"""The one size at which motion is measured, so that a clip's values do not depend on the size it was stored at.

That holds above this size. Smaller clips are enlarged, and what they lack in detail cannot flicker: compare flicker and
consistency only among them. Displacement stays comparable.
"""

import cv2
import numpy as np

from evaluation.clip_sources import Frames
from mav_lightning.common.errors import UserError

__all__ = ["LONGER_SIDE", "SHORTEST_SIDE", "at_working_size"]

LONGER_SIDE = 128  # pixels; at 256 flow takes four times as long and takes more of compression for motion
SHORTEST_SIDE = 16  # pixels; on narrower frames OpenCV's flow reads outside its own pyramid and crashes


def at_working_size(frames: Frames) -> Frames:
    """Scales frames until their longer side is `LONGER_SIDE`, keeping their shape.

    Shrinking averages areas. Enlarging is bilinear: flow is found by patches of 8 pixels at half of this size, which is
    all of a frame of 16 pixels, and sharper interpolations draw steps along slanted edges that then seem to race.

    Args:
        frames: Shape (T, H, W, 3), uint8.

    Raises:
        UserError: Other shapes or types, or frames so narrow that too little would be left of them.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise UserError(f"motion is measured on uint8 frames (T, H, W, 3), got {frames.dtype} {frames.shape}.")
    height, width = frames.shape[1:3]
    scale = LONGER_SIDE / max(height, width)
    size = round(width * scale), round(height * scale)
    if min(size) < SHORTEST_SIDE:
        most = LONGER_SIDE // SHORTEST_SIDE
        raise UserError(
            f"frames of {width}x{height} pixels are too narrow to find motion in; crop to {most}:1 or less."
        )
    if scale == 1:
        return frames
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, size, interpolation=kind) for frame in frames]).astype(np.uint8, copy=False)

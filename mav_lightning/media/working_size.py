"""The size at which motion is measured, so that values do not depend on the size a clip is stored at.

This holds above the working size. Smaller clips are upsampled and lack detail that could flicker: compare their flicker
and consistency only with each other. Displacement stays comparable.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.errors import UserError

__all__ = ["LONGER_SIDE", "SHORTEST_SIDE", "at_working_size"]

Frames = NDArray[np.uint8]
LONGER_SIDE = 128  # pixels; at 256 flow is four times slower and mistakes more compression artifacts for motion
SHORTEST_SIDE = 16  # pixels; on narrower frames OpenCV's flow reads outside its own pyramid and crashes


def at_working_size(frames: Frames) -> Frames:
    """Resize frames so that their longer side is `LONGER_SIDE`, keeping the aspect ratio.

    Downsampling averages areas; upsampling is bilinear. Higher-order interpolation makes stair steps along slanted
    edges of small frames, which the flow takes for fast motion.

    Args:
        frames: Frames, shape (T, H, W, 3), uint8.

    Raises:
        UserError: If shape or dtype is another, or frames are too narrow.
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

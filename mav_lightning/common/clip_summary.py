"""Clips in TensorBoard.

`SummaryWriter.add_video` needs a moviepy that no longer exists and then does nothing without an error. TensorBoard
shows an animated GIF as any other image, so clips are written as GIFs here.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.gif import encode_gif

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

__all__ = ["clip_summary", "tile_clips"]

SHOWN_PIXELS = 96  # small clips are enlarged to at least this height


def clip_summary(tag: str, clips: NDArray[np.uint8], fps: float) -> "Summary":
    """Clips side by side as one animated image.

    Args:
        tag: Under which TensorBoard files them.
        clips: Shape (N, T, H, W, 3), uint8.
        fps: At which they play, frames per second.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    frames = tile_clips(clips)
    image = Summary.Image(
        height=frames.shape[1], width=frames.shape[2], colorspace=3, encoded_image_string=encode_gif(frames, fps)
    )
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def tile_clips(clips: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """Lays N clips out in a grid, row by row, small ones enlarged by whole pixels.

    Args:
        clips: Shape (N, T, H, W, 3), uint8.
        columns: Of the grid; None makes it about square.

    Returns:
        One clip, shape (T, rows · H', columns · W', 3), uint8; cells without a clip are black.
    """
    if clips.ndim != 5 or clips.shape[-1] != 3 or clips.dtype != np.uint8:
        raise ValueError(f"Clips must be (N, T, H, W, 3) uint8, got {clips.shape} {clips.dtype}.")
    scale = max(1, -(-SHOWN_PIXELS // clips.shape[2]))
    clips = clips.repeat(scale, axis=2).repeat(scale, axis=3)
    n, t, h, w, _ = clips.shape
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    grid = np.zeros((rows * columns, t, h, w, 3), np.uint8)
    grid[:n] = clips
    return grid.reshape(rows, columns, t, h, w, 3).transpose(2, 0, 3, 1, 4, 5).reshape(t, rows * h, columns * w, 3)

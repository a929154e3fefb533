"""Clips in TensorBoard.

`SummaryWriter.add_video` requires a moviepy release that no longer exists and silently does nothing without it.
TensorBoard plays animated GIFs in image summaries, so clips are written as GIFs.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.gif import encode_gif

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

__all__ = ["clip_summary", "tile_clips"]

SHOWN_PIXELS = 96  # small clips are upsampled to at least this height


def clip_summary(tag: str, clips: NDArray[np.uint8], fps: float) -> "Summary":
    """Return an image summary with clips side by side, animated.

    Args:
        tag: Tag of the summary.
        clips: Clips, shape (N, T, H, W, 3), uint8.
        fps: Frame rate of playback in frames per second.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    frames = tile_clips(clips)
    image = Summary.Image(
        height=frames.shape[1], width=frames.shape[2], colorspace=3, encoded_image_string=encode_gif(frames, fps)
    )
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def tile_clips(clips: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """Tile clips in a grid, row by row; small ones are upsampled by an integer factor.

    Args:
        clips: Clips, shape (N, T, H, W, 3), uint8.
        columns: Columns of the grid. None makes it about square.

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

"""Encoding of clips as animated GIFs."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["encode_gif"]


def encode_gif(frames: NDArray[np.uint8], fps: float, comment: str = "") -> bytes:
    """Encode a clip as a GIF that loops forever.

    GIF durations are hundredths of a second; frame times are rounded rather than durations, so the total length is
    kept. Equal consecutive frames become one longer frame.

    Args:
        frames: Frames, shape (T, H, W, 3), uint8.
        fps: Frame rate in frames per second.
        comment: Text stored in the file; empty for none.
    """
    times = np.round(np.arange(len(frames) + 1) * 100 / fps).astype(int) * 10
    images = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    durations = np.diff(times).tolist()
    extra = {"comment": comment.encode()} if comment else {}
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, **extra)
    return buffer.getvalue()

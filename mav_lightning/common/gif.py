"""Clips as animated pictures."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["encode_gif"]


def encode_gif(frames: NDArray[np.uint8], fps: float, comment: str = "") -> bytes:
    """Encodes a clip, shape (T, H, W, 3), uint8, as a GIF that loops for ever.

    A GIF counts time in hundredths of a second; frame times are rounded, not durations, so the whole keeps its length.
    Neighbours that are alike become one longer frame.
    """
    times = np.round(np.arange(len(frames) + 1) * 100 / fps).astype(int) * 10
    images = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    durations = np.diff(times).tolist()
    said = {"comment": comment.encode()} if comment else {}
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, **said)
    return buffer.getvalue()

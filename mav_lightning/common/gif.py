"""Encoding of clips as animated GIFs."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["MOST_FPS", "encode_gif", "shown_frames"]

MOST_FPS = 50.0  # browsers slow frames of less than 0.02 s down to 0.1 s


def encode_gif(frames: NDArray[np.uint8], fps: float, comment: str = "") -> bytes:
    """Encode a clip as a GIF that loops forever, at 50 frames per second or fewer.

    GIF durations are hundredths of a second; frame times are rounded rather than durations, so the total length is
    kept. Of faster clips, evenly spaced frames are shown. Equal consecutive frames become one longer frame.

    Args:
        frames: Frames, shape (T, H, W, 3), uint8.
        fps: Frame rate in frames per second.
        comment: Text stored in the file; empty for none.
    """
    shown = shown_frames(len(frames), fps)
    times = np.round(np.arange(len(shown) + 1) * 100 / min(fps, MOST_FPS)).astype(int) * 10
    images = [Image.fromarray(frames[number]) for number in shown]
    buffer = io.BytesIO()
    durations = np.diff(times).tolist()
    extra = {"comment": comment.encode()} if comment else {}
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, **extra)
    return buffer.getvalue()


def shown_frames(count: int, fps: float) -> list[int]:
    """Return the numbers of the frames of a clip that a GIF shows: all, or evenly spaced ones at 50 per second.

    Args:
        count: Number of frames of the clip.
        fps: Frame rate of the clip in frames per second.
    """
    if fps <= MOST_FPS:
        return list(range(count))
    kept = max(1, round(count * MOST_FPS / fps))
    return [min(count - 1, int(number * fps / MOST_FPS)) for number in range(kept)]

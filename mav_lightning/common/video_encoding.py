"""Encoding of videos with PyAV: H.264 for datasets and for the eye, lossless FFV1 for evaluation."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.mp4_checksum import with_checksum

__all__ = ["encode_mp4", "write_lossless"]


def encode_mp4(frames: NDArray[np.uint8], fps: float, crf: int = 18, gop: int = 12, comment: str = "") -> bytes:
    """Encode a clip as H.264, yuv420p, with a checksum; the same frames give the same bytes.

    Args:
        frames: Frames (T, H, W, 3), uint8 RGB, with even height and width as 4:2:0 requires.
        fps: Frame rate in frames per second.
        crf: Constant rate factor; 0 is best, 18 looks lossless, 51 is worst.
        gop: Largest keyframe interval in frames; short ones make seeking fast.
        comment: Text stored in the container; see `read_comment`.
    """
    buffer = io.BytesIO()
    # without mbtree: on AVX-512 processors x264's is not deterministic
    options = {"crf": str(crf), "g": str(gop), "threads": "1", "preset": "fast", "x264-params": "mbtree=0"}
    _encode(buffer, frames, fps, comment, container="mp4", codec="libx264", pixels="yuv420p", options=options)
    return with_checksum(buffer.getvalue())


def write_lossless(path: Path, frames: NDArray[np.uint8], fps: float, comment: str = "") -> None:
    """Write (T, H, W, 3) uint8 RGB to `path` (.mkv) as FFV1 in RGB, which is read back bit for bit."""
    buffer = io.BytesIO()
    _encode(buffer, frames, fps, comment, container="matroska", codec="ffv1", pixels="bgr0", options={"threads": "1"})
    path.write_bytes(buffer.getvalue())


def _encode(
    buffer: io.BytesIO, frames: NDArray[np.uint8], fps: float, comment: str,
    *, container: str, codec: str, pixels: str, options: dict[str, str],
) -> None:  # fmt: skip
    # bitexact: no version strings or random track ids in the file
    with av.open(buffer, "w", format=container, container_options={"fflags": "+bitexact"}) as output:
        if comment:
            output.metadata["comment"] = comment
        stream: Any = output.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        output.mux(stream.encode(None))

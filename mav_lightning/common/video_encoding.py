"""Encoding of videos with PyAV: H.264 for datasets and for the eye, lossless FFV1 for evaluation."""

import io
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.mp4_checksum import with_checksum

__all__ = ["encode_mp4", "encode_mp4_stream", "write_lossless", "write_mp4"]


def encode_mp4(frames: NDArray[np.uint8], fps: float, crf: int = 18, gop: int = 12, comment: str = "") -> bytes:
    """Encode a clip as H.264, yuv420p, with a checksum; the same frames give the same bytes.

    Args:
        frames: Frames (T, H, W, 3), uint8 RGB, with even height and width as 4:2:0 requires.
        fps: Frame rate in frames per second.
        crf: Constant rate factor; 0 is best, 18 looks lossless, 51 is worst.
        gop: Largest keyframe interval in frames; short ones make seeking fast.
        comment: Text stored in the container; see `mav_lightning.media.media_reader.read_comment`.
    """
    return encode_mp4_stream(frames, frames.shape[1:3], fps, crf, gop, comment)


def encode_mp4_stream(
    frames: Iterable[NDArray[np.uint8]],
    size: tuple[int, ...],
    fps: float,
    crf: int = 18,
    gop: int = 12,
    comment: str = "",
) -> bytes:
    """Encode a clip frame by frame, so that only the encoded bytes are held in memory; see `encode_mp4`.

    Args:
        frames: Frames (H, W, 3), uint8 RGB.
        size: Height and width of the frames, both even.
        fps: Frame rate in frames per second.
        crf: Constant rate factor.
        gop: Largest keyframe interval in frames.
        comment: Text stored in the container.
    """
    buffer = io.BytesIO()
    _encode_h264(buffer, frames, size, fps, comment, crf, gop)
    return with_checksum(buffer.getvalue())


def write_mp4(path: Path, frames: NDArray[np.uint8], fps: float, comment: str = "") -> None:
    """Write a clip of any size as H.264, yuv420p, with the index first, so that browsers can play it while it loads.

    Args:
        path: The new file.
        frames: Frames (T, H, W, 3), uint8 RGB. Odd sides are padded by repeating the last row or column.
        fps: Frame rate in frames per second.
        comment: Text stored in the container.
    """
    height, width = frames.shape[1:3]
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    _encode_h264(f"file:{path}", even, even.shape[1:3], fps, comment, crf=18, gop=12, movflags="+faststart")


def write_lossless(path: Path, frames: NDArray[np.uint8], fps: float, comment: str = "") -> None:
    """Write (T, H, W, 3) uint8 RGB to `path` (.mkv) as FFV1 in RGB, which is read back bit for bit."""
    buffer = io.BytesIO()
    how: dict[str, Any] = {"container": "matroska", "codec": "ffv1", "pixels": "bgr0", "options": {"threads": "1"}}
    _encode(buffer, frames, frames.shape[1:3], fps, comment, **how)
    path.write_bytes(buffer.getvalue())


def _encode_h264(
    target: BinaryIO | str, frames: Iterable[NDArray[np.uint8]], size: tuple[int, ...], fps: float, comment: str,
    crf: int, gop: int, **flags: str,
) -> None:  # fmt: skip
    # without mbtree: on AVX-512 processors x264's is not deterministic
    options = {"crf": str(crf), "g": str(gop), "threads": "1", "preset": "fast", "x264-params": "mbtree=0"}
    _encode(
        target, frames, size, fps, comment, container="mp4", codec="libx264", pixels="yuv420p", options=options, **flags
    )


def _encode(
    target: BinaryIO | str, frames: Iterable[NDArray[np.uint8]], size: tuple[int, ...], fps: float, comment: str,
    *, container: str, codec: str, pixels: str, options: dict[str, str], **flags: str,
) -> None:  # fmt: skip
    # bitexact: no version strings or random track ids in the file
    with av.open(target, "w", format=container, container_options={"fflags": "+bitexact", **flags}) as output:
        if comment:
            output.metadata["comment"] = comment
        stream: Any = output.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        output.mux(stream.encode(None))

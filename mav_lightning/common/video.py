"""Reading videos with PyAV: probing, frames by number and by time.

Limits are checked *before* decoding, since 100 kB of H.264 can hold 20 GB of frames.
"""

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from mav_lightning.common.errors import UserError

__all__ = [
    "VideoError", "VideoInfo", "VideoLimits", "probe", "read_comment", "read_frames", "read_frames_at",
    "read_numbered_frames",
]  # fmt: skip

Source = bytes | Path


class VideoError(UserError):
    """A video that cannot be decoded or exceeds a limit."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video, read from its packets without decoding.

    Attributes:
        fps: Mean frame rate in frames per second.
        frames: Number of frames.
        width: Width in pixels.
        height: Height in pixels.
    """

    fps: float
    frames: int
    width: int
    height: int

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return self.frames / self.fps


@dataclass(frozen=True)
class VideoLimits:
    """Limits checked before decoding.

    Attributes:
        pixels: Largest width × height of a frame.
        frames: Largest number of frames.
        bytes: Largest file size.
    """

    pixels: int = 4096 * 2304
    frames: int = 100_000
    bytes: int = 2 << 30


DEFAULT_LIMITS = VideoLimits()


def probe(source: Source, limits: VideoLimits = DEFAULT_LIMITS) -> VideoInfo:
    """Count packets and read the header.

    Raises:
        VideoError: There is no video stream or frame, the container is unreadable, or a limit is exceeded.
    """
    with _open(source, limits) as (container, stream):
        frames = 0
        for packet in container.demux(stream):
            frames += packet.size > 0
            if frames > limits.frames:
                raise VideoError(f"{_name(source)}: more than {limits.frames} frames; cut it into shorter files.")
        rate = stream.average_rate or stream.guessed_rate
        if not frames or not rate:
            raise VideoError(
                f"{_name(source)}: holds no video frames ({frames} packets, rate {rate}); remove the file."
            )
        return VideoInfo(float(rate), frames, stream.codec_context.width, stream.codec_context.height)


def read_frames_at(source: Source, seconds: Sequence[float], limits: VideoLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Decode the source frame nearest to each time, starting from the keyframe before the first.

    Args:
        source: The file, or its bytes.
        seconds: Non-decreasing times since the first frame. Times past the end give the last frame.
        limits: Limits checked first.

    Returns:
        Frames, shape (len(seconds), H, W, 3), uint8 RGB.

    Raises:
        VideoError: The video cannot be decoded or exceeds a limit.
    """
    with _open(source, limits) as (container, stream):
        if float(seconds[0]) > 0 and _has_times(container, stream):
            start = int(float(seconds[0]) / stream.time_base) + stream.start_time
            container.seek(start, stream=stream, backward=True)
            timed = _timed_frames(container, stream)
            first = next(timed, None)
            if first is not None and first[0] <= float(seconds[0]) + 1e-3:
                return _to_array(_nearest(itertools.chain([first], timed), seconds))
            container.seek(0)  # the container's index cannot be trusted: decode from the start
        chosen = _nearest(_timed_frames(container, stream), seconds)
        if not chosen:
            raise VideoError(f"{_name(source)}: no frame could be decoded; re-encode or remove the file.")
        return _to_array(chosen)


def read_frames(source: Source, limits: VideoLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Decode every frame in order: shape (T, H, W, 3), uint8 RGB.

    Raises:
        VideoError: The video cannot be decoded or exceeds a limit; ``limits.bytes`` also limits the decoded size.
    """
    with _open(source, limits) as (container, stream):
        frames, size, converter = [], 0, VideoReformatter()
        for frame in _decode(container, stream):
            frames.append(converter.reformat(frame, format="rgb24").to_ndarray())
            size += frames[-1].nbytes
            if size > limits.bytes:
                raise VideoError(
                    f"{_name(source)}: decodes to more than {limits.bytes} bytes; cut it into shorter files."
                )
        if not frames:
            raise VideoError(f"{_name(source)}: no frame could be decoded; re-encode or remove the file.")
        if len({frame.shape for frame in frames}) > 1:
            raise VideoError(f"{_name(source)}: frames change size, and a clip has one; re-encode or remove the file.")
        return np.stack(frames)


def read_numbered_frames(
    source: Source, numbers: Sequence[int], limits: VideoLimits = DEFAULT_LIMITS
) -> NDArray[np.uint8]:
    """Decode frames by number, counted from 0, independent of the container's timestamps.

    Args:
        source: The file, or its bytes.
        numbers: Increasing frame numbers.
        limits: Limits checked first.

    Returns:
        Frames, shape (len(numbers), H, W, 3), uint8 RGB.

    Raises:
        VideoError: The video cannot be decoded, exceeds a limit, or has fewer frames.
    """
    wanted, last, chosen = set(numbers), max(numbers), []
    with _open(source, limits) as (container, stream):
        count = 0
        for number, frame in enumerate(_decode(container, stream)):
            count = number + 1
            if number in wanted:
                chosen.append(frame)
            if number == last:
                return _to_array(chosen)
    raise VideoError(f"{_name(source)}: has {count} frames, but number {last + 1} is needed; bring a longer video.")


def read_comment(path: Path) -> str:
    """Return the comment stored in a video's container; empty if there is none.

    Raises:
        VideoError: The file is not a video.
    """
    with _open(path, DEFAULT_LIMITS) as (container, _):
        tags = {name.lower(): value for name, value in container.metadata.items()}
        return str(tags.get("comment", ""))


@contextmanager
def _open(source: Source, limits: VideoLimits) -> Iterator[tuple[Any, Any]]:
    """Open the first video stream after checking file and frame size; convert FFmpeg's errors to `VideoError`."""
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > limits.bytes:
        raise VideoError(
            f"{_name(source)}: {size} bytes, more than the limit of {limits.bytes}; cut it into shorter files."
        )
    try:
        opened = io.BytesIO(source) if isinstance(source, bytes) else str(source)
        with av.open(opened, options={"err_detect": "explode"}, metadata_errors="replace") as container:
            if not container.streams.video:
                raise VideoError(f"{_name(source)}: no video stream; remove the file.")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise VideoError(f"{_name(source)}: in a codec unknown to FFmpeg; re-encode or remove the file.")
            stream.thread_type = "SLICE"  # frame threads can deadlock where decoding stops early
            stream.codec_context.thread_count = 1
            pixels = stream.codec_context.width * stream.codec_context.height
            if pixels > limits.pixels:
                raise VideoError(
                    f"{_name(source)}: {pixels} pixels a frame, more than the limit of {limits.pixels}; scale it down."
                )
            yield container, stream
    except av.FFmpegError as error:
        raise VideoError(f"{_name(source)}: cannot be decoded ({error}); re-encode or remove the file.") from error


def _decode(container: Any, stream: Any) -> Iterator[Any]:
    for frame in container.decode(stream):
        if frame.is_corrupt:
            raise VideoError("a frame is corrupt; re-encode or remove the file.")
        yield frame


def _has_times(container: Any, stream: Any) -> bool:
    """Return whether frames have timestamps. AVI stores none, and FFmpeg's guesses are out of order."""
    return container.format.name != "avi" and bool(stream.time_base) and stream.start_time is not None


def _timed_frames(container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
    """Yield (seconds since the first frame, frame); without timestamps, frames are counted from the start."""
    rate = float(stream.average_rate or stream.guessed_rate or 1)
    timed = _has_times(container, stream)
    origin = float(stream.start_time * stream.time_base) if timed else 0.0
    for count, frame in enumerate(_decode(container, stream)):
        yield (frame.time - origin if timed and frame.time is not None else count / rate), frame


def _nearest(timed: Iterable[tuple[float, Any]], seconds: Sequence[float]) -> list[Any]:
    """Return the frame nearest to each time, the last one for times past the end; empty without frames."""
    chosen: list[Any] = []
    before: tuple[float, Any] | None = None
    for time, frame in timed:
        while len(chosen) < len(seconds) and seconds[len(chosen)] <= time:
            wanted = float(seconds[len(chosen)])
            chosen.append(before[1] if before is not None and wanted - before[0] <= time - wanted else frame)
        if len(chosen) == len(seconds):
            return chosen
        before = (time, frame)
    return [] if before is None else chosen + [before[1]] * (len(seconds) - len(chosen))


def _to_array(frames: list[Any]) -> NDArray[np.uint8]:
    arrays: dict[int, Any] = {}  # repeated frames are converted once
    converter = VideoReformatter()  # shared: its set-up takes several times as long as a small frame
    for frame in frames:
        if id(frame) not in arrays:
            arrays[id(frame)] = converter.reformat(frame, format="rgb24").to_ndarray()
    if len({array.shape for array in arrays.values()}) > 1:
        raise VideoError("frames change size, and a clip has one; re-encode or remove the file.")
    return np.stack([arrays[id(frame)] for frame in frames])


def _name(source: Source) -> str:
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else str(source)

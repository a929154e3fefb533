"""One clip of a video: its frames, and how they are read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.clip_sources import Clip, VideoSource
from evaluation.resize import ResizeStep, check_frames, resize_frames
from mav_lightning.common.counting import counted
from mav_lightning.media.media_reader import VideoInfo, info_of, read_clip

__all__ = ["Cut", "Window", "read_cut", "source_info"]

_SLACK = 1e-3  # of a frame, for rates that containers round


@dataclass(frozen=True)
class Cut:
    """A clip to be read, by the numbers or by the times of its frames; one of the two is None.

    Attributes:
        id: Id, unique on its side.
        source: The video.
        fps: Frames per second of the clip.
        numbers: Numbers of the presented frames, from 0.
        seconds: Times since the first frame; the frames shown then are taken.
    """

    id: str
    source: VideoSource
    fps: float
    numbers: tuple[int, ...] | None = None
    seconds: tuple[float, ...] | None = None

    @property
    def choice(self) -> str:
        """Frames and frame rate as text; equal texts mean equal pixels of one video."""
        return f"{self.numbers} {self.seconds} {self.fps}"


@dataclass(frozen=True)
class Window:
    """Number and spacing of a clip's frames.

    Attributes:
        frames: Number of frames.
        rate: Frames per second, for cutting by time. None cuts by frame number.
        stride: For cutting by number: take every `stride`-th frame.
    """

    frames: int
    rate: float | None = None
    stride: int = 1

    def room(self, info: VideoInfo) -> float | None:
        """Return the latest start, in seconds or as a frame number; None if the video is too short or too slow."""
        if self.rate is None:
            left = info.frames - 1 - (self.frames - 1) * self.stride
            return left if left >= 0 else None
        room = (info.frames - 1) / info.fps - (self.frames - 1) / self.rate
        too_slow = self.rate > info.fps * (1 + _SLACK)
        return None if too_slow or room < -_SLACK / info.fps else max(room, 0.0)

    def cut(self, name: str, source: VideoSource, fps: float, start: float = 0) -> Cut:
        """Return the clip that begins at `start`; `fps` is the frame rate of the video."""
        if self.rate is None:
            numbers = tuple(int(start) + self.stride * number for number in range(self.frames))
            return Cut(name, source, fps / self.stride, numbers=numbers)
        return Cut(name, source, self.rate, seconds=tuple((start + np.arange(self.frames) / self.rate).tolist()))

    def unfit(self, info: VideoInfo) -> str:
        """Describe why a video does not fit, and how to fix it."""
        if self.rate is None:
            needed = 1 + (self.frames - 1) * self.stride
            strided = f" at stride {self.stride}" if self.stride > 1 else ""
            return (
                f"has {counted(info.frames, 'frame')}, but {self.frames}{strided} need {needed}; provide longer "
                "videos, or take fewer frames"
            )
        return (
            f"has {counted(info.frames, 'frame')} at {info.fps:g} fps, but {self.frames} frames at {self.rate:g} fps "
            f"need {(self.frames - 1) / self.rate:g} s at no less than that rate; provide longer or faster videos, or "
            "take fewer frames or another rate"
        )


def read_cut(cut: Cut, resize: Sequence[ResizeStep]) -> Clip:
    """Decode a clip.

    Args:
        cut: The clip.
        resize: Steps by which its frames are resized; empty leaves frames as stored.

    Raises:
        UserError: If the video cannot be decoded, has too few frames, or holds frames that are not uint8 (T, H, W, 3).
    """
    with cut.source.open() as media:
        numbers = media.timeline.at(cut.seconds or ()).tolist() if cut.numbers is None else cut.numbers
        frames = read_clip(media, numbers)
    check_frames(frames)
    return Clip(
        cut.id, resize_frames(frames, resize), cut.fps, cut.source.prompt, cut.source.attributes, cut.source.group
    )


def source_info(source: VideoSource) -> VideoInfo:
    """Read length, frame rate and size of a video; only its first frame is decoded.

    Raises:
        UserError: If the video is unreadable or empty.
    """
    with source.open() as media:
        return info_of(media)

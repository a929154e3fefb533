"""The one reader of videos, animations and folders of frames.

    with open_media(Path("clip.mp4")) as video:
        video.timeline.fps, len(video.timeline), video.size
        numbers = video.timeline.at([0.0, 0.5, 1.0])  # the frames shown at these times
        for frame in video.frames(numbers): ...       # (H, W, 3) uint8, as displayed

Training, packing, evaluation and generation use it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mav_lightning.media.animation import Animation
from mav_lightning.media.container import OpenVideo, Source, open_file, readable_tags
from mav_lightning.media.frame_series import ArrayFrames, FrameFolder
from mav_lightning.media.limits import DEFAULT_LIMITS, MediaError, MediaLimits
from mav_lightning.media.pictures import open_with_pillow, read_picture
from mav_lightning.media.timeline import Timeline, even_timeline
from mav_lightning.media.video_file import VideoFile

__all__ = [
    "FrameSource",
    "VideoInfo",
    "info_of",
    "open_media",
    "probe",
    "read_clip",
    "read_comment",
    "read_frames",
    "read_frames_at",
]


class FrameSource(Protocol):
    """Source of frames: one video, animation or series of images, as a player presents it.

    Attributes:
        name: Name of the source in messages.
        timeline: Times of its frames.
    """

    name: str
    timeline: Timeline

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames as displayed, in pixels."""

    def frames(self, numbers: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Decode frames as they are displayed, shape (H, W, 3) each.

        Args:
            numbers: Numbers of presented frames from 0, in non-decreasing order.

        Raises:
            MediaError: A frame is damaged, too large, or of another size than those before.
        """


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video.

    Attributes:
        fps: Frames per second; the mean of a variable frame rate.
        frames: Number of frames that are presented.
        width: Width in pixels, as displayed.
        height: Height in pixels, as displayed.
    """

    fps: float
    frames: int
    width: int
    height: int

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return self.frames / self.fps


@contextmanager
def open_media(
    source: Source, fps: float | None = None, limits: MediaLimits = DEFAULT_LIMITS, *, is_verified: bool = False
) -> Iterator[FrameSource]:
    """Open a video, an animation, an image, or a folder of frames.

    Formats are recognized by their first bytes, whatever a file is called.

    Args:
        source: Encoded bytes, a file, or a folder with the numbered images of one clip.
        fps: Frame rate in frames per second that counts instead of the file's own. A folder needs it. None takes the
            times that the file holds.
        limits: Limits checked before decoding.
        is_verified: If True, the bytes have been compared with a checksum, so H.264 is not decoded twice to find
            damage.

    Raises:
        MediaError: The source is unreadable, damaged, empty, of no format that is read, or exceeds a limit.
    """
    if isinstance(source, Path) and os.path.isdir(source):  # False also of a name that is too long
        yield FrameFolder(source, fps or 1.0, limits)
        return
    with open_file(source, limits) as file:
        if file.format.kind == "video":
            with OpenVideo(file, limits, is_verified=is_verified) as opened:
                video = VideoFile(opened, limits)
                if fps is not None:
                    video.timeline = even_timeline(len(video.timeline), fps)
                yield video
        elif file.format.kind == "animation":
            yield Animation(file, limits, fps)
        else:
            yield ArrayFrames(file.name, read_picture(source, limits)[None], fps or 1.0)


def probe(source: Source, limits: MediaLimits = DEFAULT_LIMITS) -> VideoInfo:
    """Return the properties of a video; see `open_media`. Only its first frame is decoded."""
    with open_media(source, None, limits) as video:
        return info_of(video)


def info_of(video: FrameSource) -> VideoInfo:
    """Return the properties of an opened video."""
    width, height = video.size
    return VideoInfo(video.timeline.fps, len(video.timeline), width, height)


def read_clip(video: FrameSource, numbers: Sequence[int], limits: MediaLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Decode frames of an opened video by their numbers.

    Args:
        video: The video.
        numbers: Numbers of presented frames from 0, in non-decreasing order, at least one.
        limits: Limit on the size of all frames together.

    Returns:
        Frames, shape (len(numbers), H, W, 3), uint8 RGB.

    Raises:
        MediaError: A frame is missing or damaged, or the frames take too much memory together.
    """
    if numbers[-1] >= len(video.timeline):
        raise MediaError(
            f"{video.name}: has {len(video.timeline)} frames, but number {numbers[-1] + 1} is needed; bring a longer "
            "video."
        )
    limits.check_decoded(video.name, len(numbers), *video.size)
    return np.stack(list(video.frames(numbers)))


def read_frames(source: Source, limits: MediaLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Decode every frame in order: shape (T, H, W, 3), uint8 RGB; see `open_media` and `read_clip`."""
    with open_media(source, None, limits) as video:
        return read_clip(video, range(len(video.timeline)), limits)


def read_frames_at(source: Source, seconds: ArrayLike, limits: MediaLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Decode the frame shown at each time; see `Timeline.at`.

    Args:
        source: The video.
        seconds: Non-decreasing times since the first frame. Times past the end give the last frame.
        limits: Limits checked before decoding.

    Returns:
        Frames, shape (len(seconds), H, W, 3), uint8 RGB.

    Raises:
        MediaError: The video cannot be decoded or exceeds a limit.
    """
    with open_media(source, None, limits) as video:
        return read_clip(video, video.timeline.at(seconds).tolist(), limits)


def read_comment(source: Source, limits: MediaLimits = DEFAULT_LIMITS) -> str:
    """Return the comment stored in a video, animation or image; empty if there is none.

    Raises:
        MediaError: The source is unreadable or of no format that is read.
    """
    with open_file(source, limits) as file:
        if file.format.kind == "video":
            with OpenVideo(file, limits) as video:
                tags = readable_tags(video.container.metadata)
        else:
            with open_with_pillow(file.file, file.format.library_name, file.name, limits) as image:
                tags = {str(name).lower(): value for name, value in image.info.items()}
    found = tags.get("comment", "")
    return found.decode(errors="replace") if isinstance(found, bytes) else str(found)

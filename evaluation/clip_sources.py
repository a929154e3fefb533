"""Videos that have not been read, and decoded clips."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.resize import check_frames
from mav_lightning.common.terminal import visible
from mav_lightning.media.frame_series import ArrayFrames, frame_files, read_array
from mav_lightning.media.limits import DEFAULT_LIMITS
from mav_lightning.media.media_reader import FrameSource, open_media, read_clip

__all__ = ["ArraySource", "Clip", "Frames", "VideoSource", "sources_sha256", "with_content"]

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class VideoSource:
    """One video that has not been read.

    Attributes:
        id: Id, unique in the folder.
        path: A video or animation; a folder of numbered images; frames (T, H, W, 3) uint8 as ``.npy``; or an
            uncompressed archive that holds the video.
        span: First byte and number of bytes of the video within `path`. None if it is the whole file.
        fps: Frames per second from a manifest or the caller. None takes that of the file.
        prompt: The caption, or None.
        attributes: Known content, such as color, shape and ground.
        group: Videos of one group are not independent.
        content: sha256 of the bytes; empty before `with_content`.
    """

    id: str
    path: Path
    span: tuple[int, int] | None = None
    fps: float | None = None
    prompt: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    group: str = ""
    content: str = ""

    @contextmanager
    def open(self) -> Iterator[FrameSource]:
        """Open the clip for reading.

        Raises:
            UserError: If the clip is unreadable, or its images or array are not frames of one size and kind.
        """
        if self.span is None and self.path.suffix.lower() == ".npy" and self.path.is_file():
            frames = read_array(self.path)
            check_frames(frames)
            yield ArrayFrames(str(self.path), frames, self.fps or 1.0)
            return
        with open_media(self.path if self.span is None else self._bytes(self.span), self.fps) as media:
            yield media

    def read(self) -> Frames:
        """Decode all frames, shape (T, H, W, 3), uint8."""
        with self.open() as media:
            return read_clip(media, range(len(media.timeline)))

    def sha256(self) -> str:
        """Hash the bytes; for a folder of images, their names and bytes in the order of the frames.

        Raises:
            UserError: If the file is too large to be read as a video, or the images are not one series.
        """
        if self.span is not None:
            return hashlib.sha256(self._bytes(self.span)).hexdigest()
        if not self.path.is_dir():
            if self.path.suffix.lower() != ".npy":  # arrays are mapped, whatever their size
                DEFAULT_LIMITS.check_file(visible(self.path), self.path.stat().st_size)
            return _file_sha256(self.path)
        named = (f"{file.name}\0{_file_sha256(file)}\n" for file in frame_files(self.path))
        return hashlib.sha256("".join(named).encode("utf-8", "surrogateescape")).hexdigest()

    def _bytes(self, span: tuple[int, int]) -> bytes:
        first, size = span
        with self.path.open("rb") as file:
            file.seek(first)
            return file.read(size)


@dataclass(frozen=True)
class Clip:
    """A decoded clip.

    Attributes:
        id: Name, unique among the generated or among the real clips.
        pixels: Shape (T, H, W, 3), uint8.
        fps: Frames per second.
        prompt: The caption, or None.
        attributes: Known content.
        group: Clips of one group are not independent; empty puts the clip into a group of its own.
    """

    id: str
    pixels: Frames
    fps: float
    prompt: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True)
class ArraySource(VideoSource):
    """One video in memory, not in a file; `path` only names it in messages.

    Attributes:
        frames: Shape (T, H, W, 3), uint8.
    """

    frames: Frames = field(default_factory=lambda: np.empty((0, 0, 0, 3), np.uint8), compare=False, repr=False)

    @contextmanager
    def open(self) -> Iterator[FrameSource]:
        """Open the clip for reading."""
        check_frames(self.frames)
        yield ArrayFrames(self.id, self.frames, self.fps or 1.0)

    def sha256(self) -> str:
        """Hash shape and bytes."""
        digest = hashlib.sha256(f"{self.frames.dtype} {self.frames.shape}\0".encode())
        digest.update(np.ascontiguousarray(self.frames).data)
        return digest.hexdigest()


def with_content(sources: Sequence[VideoSource]) -> list[VideoSource]:
    """Compute the sha256 of each video's bytes and return the videos with it."""
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(lambda source: source.sha256(), sources)
        return [replace(source, content=own) for source, own in zip(sources, hashes, strict=True)]


def sources_sha256(sources: Sequence[VideoSource]) -> str:
    """Hash a set of videos: ids, bytes, frame rates, prompts, attributes and groups, but not their paths.

    Args:
        sources: Videos from `with_content`, ordered by id.
    """
    digest = hashlib.sha256()
    for source in sources:
        known = sorted(source.attributes.items())
        facts = (source.id, source.content, source.fps, source.prompt, known, source.group)
        digest.update(f"{facts!r}\n".encode())
    return digest.hexdigest()


def _file_sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()

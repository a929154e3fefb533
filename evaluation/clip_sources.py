"""Videos that have not been read, and decoded clips."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mav_lightning.common.errors import UserError

__all__ = ["ArraySource", "Clip", "Frames", "VideoSource", "sources_sha256", "with_content"]

Frames = NDArray[np.uint8]
_COLOURS = ("RGB", "RGBA", "L", "LA", "P", "1")  # of pictures whose values are 0 to 255


@dataclass(frozen=True)
class VideoSource:
    """One video that has not been read.

    Attributes:
        id: Id, unique in the folder.
        path: A video of any container FFmpeg reads; a folder of ``.png`` frames; frames (T, H, W, 3) uint8 as ``.npy``;
            or an uncompressed archive that holds the video.
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

    def read(self) -> bytes | Path | Frames:
        """Return the encoded video, its path, or the frames themselves if they are stored as images or an array.

        Raises:
            UserError: If images are missing or of different sizes or kinds, or an array is unreadable.
        """
        if self.span is not None:
            first, size = self.span
            with self.path.open("rb") as file:
                file.seek(first)
                return file.read(size)
        if self.path.is_dir():
            return _pictures(self.path)
        return _array(self.path) if self.path.suffix == ".npy" else self.path

    def sha256(self) -> str:
        """Hash the bytes; for a folder of images, their names and bytes."""
        if self.span is not None:
            return hashlib.sha256(self.read()).hexdigest()  # type: ignore[arg-type]  # bytes, as there is a span
        files = sorted(self.path.glob("*.png")) if self.path.is_dir() else [self.path]
        hashes = []
        for path in files:
            with path.open("rb") as file:
                hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
        if not self.path.is_dir():
            return hashes[0]
        named = (f"{path.name}\0{own}\n" for path, own in zip(files, hashes, strict=True))
        return hashlib.sha256("".join(named).encode()).hexdigest()


@dataclass(frozen=True)
class Clip:
    """A decoded clip.

    Attributes:
        id: Unique on its side.
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

    def read(self) -> Frames:
        """Return the frames."""
        return self.frames

    def sha256(self) -> str:
        """Hash shape and bytes."""
        digest = hashlib.sha256(f"{self.frames.dtype} {self.frames.shape}\0".encode())
        digest.update(np.ascontiguousarray(self.frames).data)
        return digest.hexdigest()


def with_content(sources: Sequence[VideoSource]) -> list[VideoSource]:
    """Return the videos with the hashes of their bytes."""
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


def _pictures(folder: Path) -> Frames:
    files = sorted(folder.glob("*.png"))
    if not files:
        raise UserError(f"{folder}: holds no .png frames; write them again or leave the clip out.")
    frames = [_picture(file) for file in files]
    if len({frame.shape for frame in frames}) > 1:
        raise UserError(f"{folder}: frames of different sizes; write them again at one size.")
    return np.stack(frames)


def _picture(file: Path) -> Frames:
    try:
        with Image.open(file) as image:
            if image.mode not in _COLOURS:
                raise UserError(
                    f"{file}: has values of kind `{image.mode}`, not 0 to 255; save it with 8 bits per channel."
                )
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(f"{file}: no readable picture ({error}); write it again.") from error


def _array(file: Path) -> Frames:
    try:
        frames = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{file}: no readable array ({error}); write it with numpy.save.") from error
    if not isinstance(frames, np.ndarray):
        raise UserError(f"{file}: no readable array (an archive of several); write it with numpy.save.")
    return frames  # its kind is checked where frames are taken

"""Clips without a container: folders of numbered images, and arrays."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.terminal import visible
from mav_lightning.common.text_files import composed
from mav_lightning.media.formats import PICTURE_SUFFIXES
from mav_lightning.media.limits import MediaError, MediaLimits
from mav_lightning.media.listing import list_folder
from mav_lightning.media.pictures import open_picture, read_picture
from mav_lightning.media.timeline import even_timeline

__all__ = ["ArrayFrames", "FrameFolder", "frame_files", "read_array"]

_EXIF_ORIENTATION = 0x0112  # tag; values from 5 on exchange width and height


class FrameFolder:
    """A folder of images that are the frames of one clip; see `mav_lightning.media.media_reader.FrameSource`.

    Args:
        folder: The folder.
        fps: Frames per second, which images do not tell.
        limits: Limits on the number and size of frames.

    Raises:
        MediaError: The folder holds no images, or images that are no single numbered series, or exceeds a limit.
    """

    def __init__(self, folder: Path, fps: float, limits: MediaLimits) -> None:
        self.name, self._limits, self._files = visible(folder), limits, frame_files(folder)
        limits.check_frames(self.name, len(self._files))
        self.timeline = even_timeline(len(self._files), fps)
        with open_picture(self._files[0], limits) as first:
            turned = first.getexif().get(_EXIF_ORIENTATION, 1) >= 5
            self.size = (first.height, first.width) if turned else (first.width, first.height)

    def frames(self, numbers: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Decode frames, shape (H, W, 3) each, by their numbers."""
        for number in numbers:
            pixels = read_picture(self._files[number], self._limits)
            if pixels.shape[1::-1] != self.size:
                raise MediaError(f"{self.name}: frames of different sizes; write them again at one size.")
            yield pixels


class ArrayFrames:
    """Frames in memory or in a mapped file; see `mav_lightning.media.media_reader.FrameSource`.

    Args:
        name: Name for messages.
        frames: Frames, shape (T, H, W, 3), uint8, T ≥ 1.
        fps: Frames per second.
    """

    def __init__(self, name: str, frames: NDArray[np.uint8], fps: float) -> None:
        self.name, self._frames = name, frames
        self.timeline, self.size = even_timeline(len(frames), fps), (frames.shape[2], frames.shape[1])

    def frames(self, numbers: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Return frames, shape (H, W, 3) each, by their numbers."""
        return (np.ascontiguousarray(self._frames[number]) for number in numbers)


def read_array(file: Path) -> NDArray[np.uint8]:
    """Map frames from a ``.npy`` file.

    Raises:
        MediaError: The file is no array of frames, shape (T, H, W, 3), uint8.
    """
    name = visible(file)
    try:
        frames = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise MediaError(f"{name}: no readable array ({error}); write it with numpy.save.") from error
    if not isinstance(frames, np.ndarray):
        raise MediaError(f"{name}: no readable array (an archive of several); write it with numpy.save.")
    return frames


def frame_files(folder: Path) -> list[Path]:
    """Return the images in a folder in the order of their numbers.

    Raises:
        MediaError: There is none, or they are no single series: numbered names of several kinds, images without a
            number beside numbered ones, or two images of one number.
    """
    files = list_folder(folder, recursive=False).with_suffix(*PICTURE_SUFFIXES)
    if not files:
        raise MediaError(
            f"{visible(folder)}: holds no frames ({', '.join(f'.{suffix}' for suffix in PICTURE_SUFFIXES)}); write "
            "them again or leave the clip out."
        )
    _check_series(folder, files)
    return files


def _check_series(folder: Path, files: Sequence[Path]) -> None:
    """Raise a `MediaError` if the images of a folder are not one series of frames."""
    series, stems = defaultdict[str, list[Path]](list), defaultdict[str, list[Path]](list)
    for file in files:
        stem = composed(file.stem)
        series[re.sub(r"[0-9]+", "#", stem)].append(file)
        stems[re.sub(r"[0-9]+", lambda digits: digits.group().lstrip("0") or "0", stem)].append(file)
    kinds = [named for named in series if "#" in named]
    if kinds and len(series) > 1:
        raise MediaError(
            f"{visible(folder)}: holds frames and other images ({_first_of_each(series.values())}); put the frames "
            "of each clip, and nothing else, into a folder of its own."
        )
    twice = [named for named in stems.values() if len(named) > 1]
    if twice:
        raise MediaError(
            f"{visible(folder)}: holds a frame twice ({', '.join(visible(file.name) for file in twice[0])}); "
            "keep one of them."
        )


def _first_of_each(groups: Iterable[Sequence[Path]]) -> str:
    return ", ".join(f"{len(group)} like `{visible(group[0].name)}`" for group in list(groups)[:3])

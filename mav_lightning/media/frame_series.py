"""Clips without a container: folders of numbered images, and arrays."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.terminal import visible
from mav_lightning.common.text_files import composed
from mav_lightning.media.formats import PICTURE_SUFFIXES
from mav_lightning.media.limits import MediaError, MediaLimits
from mav_lightning.media.listing import BROKEN_LINK, ascii_digits, list_folder, natural_key
from mav_lightning.media.pictures import displayed_size, open_picture, pillow_errors, read_picture
from mav_lightning.media.timeline import even_timeline

__all__ = ["ArrayFrames", "FrameFolder", "frame_files", "numbered_series", "read_array"]

_NO_ARRAY = (
    ValueError, OSError, EOFError, SyntaxError, TokenError, OverflowError, TypeError, MemoryError, BadZipFile,
)  # fmt: skip
_NUMPY = b"\x93NUMPY"
_MOST_GAPS = 5  # of a series, one in so many steps: more are a choice of frames, not missing ones


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
        with open_picture(self._files[0], limits) as first, pillow_errors(visible(self._files[0])):
            self.size = displayed_size(first)

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
        name: Name of the source in messages.
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
    """Map frames from a ``.npy`` file; their shape and type are still to be checked.

    Raises:
        MediaError: The file holds no array, or an empty one.
    """
    name = visible(file)
    try:
        with file.open("rb") as opened:
            if (head := opened.read(len(_NUMPY))) and head != _NUMPY and not head.startswith(b"PK"):
                raise ValueError("it does not begin as one")  # numpy would advise to unpickle it
        frames = np.load(file, mmap_mode="r", allow_pickle=False)
    except _NO_ARRAY as error:
        raise MediaError(f"{name}: no readable array ({error}); write it with numpy.save.") from error
    if not isinstance(frames, np.ndarray):
        raise MediaError(f"{name}: no readable array (an archive of several); write it with numpy.save.")
    if not len(frames.shape) or not len(frames):
        raise MediaError(f"{name}: holds no frames; write them again or leave the clip out.")
    return frames


def frame_files(folder: Path) -> list[Path]:
    """Return the images in a folder in the order of their numbers.

    Raises:
        MediaError: There is none, one is a broken link, or they are not a single series: numbered names of several
            kinds, several images without a number, or two of one number.
    """
    listing = list_folder(folder, recursive=False)
    files = listing.with_suffix(*PICTURE_SUFFIXES)
    gone = [name for name in listing.unused.get(BROKEN_LINK, ()) if Path(name).suffix[1:].lower() in PICTURE_SUFFIXES]
    if gone:
        raise MediaError(f"{visible(folder)}: frame `{visible(gone[0])}` is a broken link; download the clip again.")
    if not files:
        raise MediaError(
            f"{visible(folder)}: holds no frames ({', '.join(f'.{suffix}' for suffix in PICTURE_SUFFIXES)}); write "
            "them again or leave the clip out."
        )
    _check_series(folder, files)
    return files


def numbered_series(files: Iterable[Path]) -> list[list[Path]]:
    """Group images by their names without numbers; names that hold no number are left out."""
    series = defaultdict[str, list[Path]](list)
    for file in files:
        series[_without_numbers(ascii_digits(composed(file.stem)))].append(file)
    return [group for named, group in series.items() if "#" in named]


def _without_numbers(stem: str) -> str:
    return re.sub(r" *[0-9]+", "#", stem)


def _check_series(folder: Path, files: Sequence[Path]) -> None:
    """Raise a `MediaError` if the images of a folder are not one series of frames."""
    series, stems = defaultdict[str, list[Path]](list), defaultdict[str, list[Path]](list)
    for file in files:
        stem = ascii_digits(composed(file.stem))
        series[_without_numbers(stem)].append(file)
        stems[re.sub(r" *[0-9]+", lambda digits: digits.group().lstrip(" 0") or "0", stem)].append(file)
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
    if kinds:
        _check_numbers(folder, files)
    elif len(files) > 1:
        raise MediaError(
            f"{visible(folder)}: the names of its images hold no numbers ({_some_names(files)}), so their order is not "
            "clear; number the frames of a clip."
        )


def _check_numbers(folder: Path, files: Sequence[Path]) -> None:
    """Raise a `MediaError` if the numbers in the names of one series do not tell the order of its frames."""
    stems = [ascii_digits(composed(file.stem)) for file in files]
    fractions = [fraction for stem in stems for fraction in re.findall(r"[0-9]\.([0-9]+)", stem)]
    width = max(map(len, fractions), default=0)
    if any(len(one) < width for one in fractions) and not any(one != "0" and one.endswith("0") for one in fractions):
        as_seconds = [re.sub(r"(?<=[0-9]\.)[0-9]+", lambda one: one[0].ljust(width, "0"), stem) for stem in stems]
        if sorted(as_seconds, key=natural_key) != as_seconds:
            raise MediaError(
                f"{visible(folder)}: the order of its frames is not clear, as 1.5 may come before or after 1.25; "
                "number them, or write all numbers with as many digits."
            )
    numbers = np.array([[float(one) for one in re.findall(r"[0-9]+(?:\.[0-9]+)?", stem)] for stem in stems])
    varying = numbers[:, [len(set(column)) > 1 for column in numbers.T]]
    if varying.shape[1] > 1:
        _check_begins_again(folder, files, varying)
    elif varying.shape[1] == 1:
        _check_gaps(folder, files, varying[:, 0])


def _check_begins_again(folder: Path, files: Sequence[Path], numbers: NDArray[np.float64]) -> None:
    """Raise a `MediaError` if the last number begins again in every group of names, as with several cameras."""
    groups = defaultdict[tuple[float, ...], list[int]](list)
    for place, row in enumerate(numbers.tolist()):
        groups[tuple(row[:-1])].append(place)
    firsts = {numbers[group[0], -1] for group in groups.values()}
    if 1 < len(groups) < len(files) and len(firsts) == 1 and min(map(len, groups.values())) > 1:
        series = _first_of_each([[files[place] for place in group] for group in groups.values()])
        raise MediaError(
            f"{visible(folder)}: holds {len(groups)} series of frames ({series}); put the frames of each clip, and "
            "nothing else, into a folder of its own."
        )


def _check_gaps(folder: Path, files: Sequence[Path], numbers: NDArray[np.float64]) -> None:
    """Raise a `MediaError` if frames are missing: a few steps are multiples of the one between all other frames."""
    steps = np.diff(numbers)
    usual = float(np.median(steps)) if len(steps) else 0.0
    gaps = np.flatnonzero(steps != usual)
    if usual > 0 and 0 < _MOST_GAPS * len(gaps) <= len(steps) and not np.any(steps[gaps] % usual):
        place = int(gaps[0])
        missing = round(steps[place] / usual) - 1
        raise MediaError(
            f"{visible(folder)}: {missing} frame(s) are missing between `{visible(files[place].name)}` and "
            f"`{visible(files[place + 1].name)}`; fetch the clip again, or number its frames without gaps."
        )


def _some_names(files: Sequence[Path]) -> str:
    return ", ".join(visible(file.name) for file in files[:3]) + (", …" if len(files) > 3 else "")


def _first_of_each(groups: Iterable[Sequence[Path]]) -> str:
    return ", ".join(f"{len(group)} like `{visible(group[0].name)}`" for group in list(groups)[:3])

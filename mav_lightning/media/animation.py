"""Animated GIF, WebP and PNG, read by the durations of their pictures."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mav_lightning.media.animation_tables import AnimationTable, read_animation_table
from mav_lightning.media.container import MediaFile
from mav_lightning.media.limits import Deadline, MediaError, MediaLimits
from mav_lightning.media.pictures import as_displayed, open_with_pillow, pillow_errors
from mav_lightning.media.timeline import Timeline, even_timeline, timeline_of

__all__ = ["Animation"]

_SHORTEST, _UNSET = 10.0, 100.0  # milliseconds: browsers and FFmpeg show a picture of up to 10 ms for 100 ms
_MOST_TRIES = 5_000_000  # comparisons in the search for a common interval
_ROUNDING = 0.01  # milliseconds, of floating-point sums
_MILLISECOND = Fraction(1, 1000)


class Animation:
    """An animation that is read frame by frame; see `mav_lightning.media.media_reader.FrameSource`.

    Writers of these formats store equal neighboring frames once, for longer. Where all durations are multiples of one
    interval, a picture therefore counts as that many frames.

    Args:
        file: The file.
        limits: Limits on the number and size of frames.
        fps: Frame rate of the clip that was stored, in frames per second. None if it is not known: then the interval is
            the shortest duration, if the others are multiples of it.

    Raises:
        MediaError: The file is damaged or exceeds a limit.
    """

    def __init__(self, file: MediaFile, limits: MediaLimits, fps: float | None = None) -> None:
        table = read_animation_table(file, limits)
        self._file, self._limits, self._first = file, limits, table.first
        self.name = file.name
        copies, self.timeline = _with_rate(table, fps) if fps is not None else _by_durations(table)
        limits.check_frames(file.name, len(self.timeline))
        self._picture_of = np.repeat(np.arange(len(copies)), copies)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames as displayed, from the first frame."""
        height, width = next(self.frames([0])).shape[:2]
        return width, height

    def frames(self, numbers: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Decode frames, shape (H, W, 3) each, by their numbers in non-decreasing order."""
        repeats = Counter(int(self._picture_of[number]) for number in numbers)
        deadline, shape = Deadline(self.name, self._limits.seconds), None
        self._file.file.seek(0)
        with open_with_pillow(self._file.file, self._file.format.library_name, self.name, self._limits) as image:
            for picture in sorted(repeats):
                pixels = self._decoded(image, picture, deadline)
                if shape not in (None, pixels.shape):
                    raise MediaError(f"{self.name}: the frames differ in size; re-encode the file.")
                shape = pixels.shape
                deadline.extend()
                yield from repeat(pixels, repeats[picture])

    def _decoded(self, image: Image.Image, picture: int, deadline: Deadline) -> NDArray[np.uint8]:
        with pillow_errors(self.name):
            for number in range(image.tell() + 1, picture + self._first + 1):  # each picture changes the one before
                deadline.check()
                image.seek(number)
            return np.asarray(as_displayed(image))


def _with_rate(table: AnimationTable, fps: float) -> tuple[NDArray[np.int_], Timeline]:
    """Return how many frames each picture stands for at a known rate; one each if the durations do not fit it."""
    exact, ends = 1000 / fps, np.cumsum(table.durations)
    units = exact / table.clock  # writers keep the sum of durations exact, or cut or round each of them
    for interval in (exact, *(table.clock * max(whole, 1) for whole in (math.floor(units), math.ceil(units)))):
        copies = _multiples(table, interval, ends)
        if copies is not None:
            return copies, even_timeline(int(copies.sum()), fps)
    durations = np.array(table.durations)
    copies = np.maximum(np.rint(durations / exact), 1).astype(np.int_)  # merged, then cut or rounded, as by Pillow
    if np.abs(durations - copies * exact).max() > table.clock + _ROUNDING:
        copies = np.ones(len(ends), np.int_)
    return copies, even_timeline(int(copies.sum()), fps)


def _by_durations(table: AnimationTable) -> tuple[NDArray[np.int_], Timeline]:
    """Return how many frames each picture stands for: multiples of the shortest duration, or one each."""
    durations = np.array(table.durations)
    durations = np.where(durations <= _SHORTEST, _UNSET, durations)
    ends, shortest = np.cumsum(durations), durations.min()
    fewest = max(len(ends), math.ceil(ends[-1] / (shortest + table.clock)))
    most = math.floor(ends[-1] / max(shortest - table.clock, _SHORTEST))
    for count in range(fewest, min(most, fewest + _MOST_TRIES // len(ends)) + 1):
        copies = _multiples(table, ends[-1] / count, ends)
        if copies is not None and copies.min() == 1:
            whole = max(round(1000 * count / ends[-1]), 1)
            fits = _multiples(table, 1000 / whole, ends) is not None
            return copies, even_timeline(count, whole if fits else 1000 * count / ends[-1])
    starts = np.rint(ends - durations).astype(int).tolist()
    return np.ones(len(ends), np.int_), timeline_of(starts, _MILLISECOND)


def _multiples(table: AnimationTable, interval: float, ends: NDArray[np.float64]) -> NDArray[np.int_] | None:
    """Return durations in intervals, at least one each; None unless all pictures end at multiples of the interval."""
    multiples = np.rint(ends / interval).astype(np.int_)
    copies = np.diff(multiples, prepend=0)
    fits = np.abs(ends - multiples * interval).max() <= table.clock / 2 + _ROUNDING
    return copies if fits and copies.min() >= 1 else None

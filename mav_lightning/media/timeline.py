"""When each frame of a video is shown, its frame rate, and which frame is shown at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Timeline", "even_timeline", "timeline_of"]

_TIE = 1e-7  # seconds; times this close to the middle between two frames are in the middle
_HELD = 1.5  # a frame shown for longer than this many typical intervals is held, and the next one is not shown early
_FASTEST = 1000  # frames per second that a nominal rate may name where no times confirm it


@dataclass(frozen=True)
class Timeline:
    """Times of the frames that a player presents, in order.

    Attributes:
        times: Seconds from the first frame to each frame, shape (N,), N ≥ 1, non-decreasing, the first one 0.
        fps: Frames per second: (N - 1) / (last - first), for even and uneven intervals alike. If the times agree with
            the container's nominal rate to one tick of its clock, that rate.
        is_even: Whether the intervals are equal.
    """

    times: NDArray[np.float64]
    fps: float
    is_even: bool

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.times)

    @property
    def span(self) -> float:
        """Seconds from the first frame to the last."""
        return (len(self) - 1) / self.fps

    def at(self, seconds: ArrayLike) -> NDArray[np.int_]:
        """Return the number of the frame shown at each time, from 0.

        That is the frame nearest in time, the earlier of two equally near. Where a frame is held for long, as with a
        variable frame rate, the next frame begins half a typical interval before its time, not in the middle of the
        pause.

        Args:
            seconds: Times since the first frame. Times outside the video give its first or last frame.
        """
        gaps = np.diff(self.times)
        held = 1 / self.fps if self.is_even or len(self) == 1 else float(np.median(gaps))
        begins = self.times[1:] - np.minimum(gaps, np.where(gaps > _HELD * held, held, np.inf)) / 2
        return np.searchsorted(begins, np.asarray(seconds, np.float64) - _TIE, side="left")


def even_timeline(frames: int, fps: float | Fraction) -> Timeline:
    """Return the timeline of frames at equal intervals."""
    seconds, ticks = (fps.denominator, fps.numerator) if isinstance(fps, Fraction) else (1, fps)
    return Timeline((np.arange(frames) * seconds / ticks).astype(np.float64), float(fps), True)


def timeline_of(ticks: Sequence[int], time_base: Fraction, nominal: Iterable[Fraction | None] = ()) -> Timeline:
    """Return the timeline of frames with time stamps.

    Args:
        ticks: Time stamps in presentation order, at least one.
        time_base: Seconds per tick.
        nominal: Rates that the container names, in frames per second, best first. A rate counts only if the time stamps
            confirm it: browsers record WebM with a nominal 1000 frames per second.
    """
    rates = [rate for rate in nominal if rate is not None and 0 < rate <= 1 / time_base]
    stamps = np.array(ticks, np.int64) - ticks[0]
    for rate in rates:
        if _agree(stamps, 1 / (rate * time_base)):
            return even_timeline(len(ticks), rate)
    if len(ticks) == 1 or stamps[-1] <= 0:
        return even_timeline(len(ticks), next((rate for rate in rates if rate <= _FASTEST), Fraction(1)))
    mean = Fraction(len(ticks) - 1) / (int(stamps[-1]) * time_base)
    if _agree(stamps, 1 / (mean * time_base)):
        return even_timeline(len(ticks), mean)
    return Timeline((stamps * float(time_base)).astype(np.float64), float(mean), False)


def _agree(stamps: NDArray[np.int64], interval: Fraction) -> bool:
    """Return whether time stamps are multiples of an interval in ticks, but for rounding to whole ticks."""
    error = np.abs(stamps - np.arange(len(stamps)) * float(interval)).max()
    return len(stamps) > 1 and bool(error <= min(1.0, float(interval) / 4))

"""How many frames per second a training clip is cut at: the condition of Make-A-Video's decoder (§3.3)."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from mav_lightning.common.errors import UserError

__all__ = ["FpsSampler", "UniformFps", "truncate_fps"]


class FpsSampler(Protocol):
    """Draws a frame rate for each clip and remembers which were realised."""

    def sample(self, rng: np.random.Generator) -> float:
        """A frame rate in frames per second, drawn with the sample's own generator."""

    def record(self, fps: Iterable[float]) -> None:
        """Counts the frame rates of a batch that was trained on."""

    def histogram(self) -> dict[int, int]:
        """How often each frame rate was realised: whole frames per second → clips, in ascending order."""

    def state_dict(self) -> dict[str, Any]:
        """All that a checkpoint must keep, as plain data."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from `state_dict`."""


class UniformFps:
    """Frame rates uniform in [low, high).

    Args:
        low: Lowest rate in frames per second, above 0.
        high: Highest rate, at least `low`.

    Raises:
        UserError: Rates that are not 0 < low <= high.
    """

    def __init__(self, low: float, high: float) -> None:
        if not 0 < low <= high < float("inf"):
            raise UserError(f"fps: need 0 < low <= high, got low={low:g} and high={high:g}; try low=4 high=16.")
        self.low, self.high = low, high
        self._counts: Counter[int] = Counter()

    def sample(self, rng: np.random.Generator) -> float:
        """A frame rate in frames per second, drawn with the sample's own generator."""
        return float(rng.uniform(self.low, self.high))

    def record(self, fps: Iterable[float]) -> None:
        """Counts the frame rates of a batch that was trained on."""
        self._counts.update(round(float(rate)) for rate in fps)

    def histogram(self) -> dict[int, int]:
        """How often each frame rate was realised: whole frames per second → clips, in ascending order."""
        return dict(sorted(self._counts.items()))

    def state_dict(self) -> dict[str, Any]:
        """All that a checkpoint must keep, as plain data."""
        return {"counts": self.histogram()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from `state_dict`."""
        self._counts = Counter(state["counts"])


def truncate_fps(fps: float, frames: int, duration: float, source_fps: float) -> float:
    """Moves a drawn rate to the nearest that the source can give without running out of frames or inventing them.

    Args:
        fps: The rate drawn, in frames per second.
        frames: Frames T of the clip, at least 1.
        duration: Seconds from the source's first frame to its last.
        source_fps: The source's own rate.

    Returns:
        The rate, in [(T - 1) / duration, source_fps].
    """
    slowest = (frames - 1) / duration if duration > 0 else source_fps
    return min(max(fps, slowest), source_fps)

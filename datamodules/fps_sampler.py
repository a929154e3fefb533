"""How many frames per second a training clip is cut at: the condition of Make-A-Video's decoder (§3.3)."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from mav_lightning.common.errors import UserError

__all__ = ["BetaFps", "FpsSampler", "UniformFps", "truncate_fps"]


class FpsSampler(Protocol):
    """Draws a frame rate for each clip and remembers which were realised."""

    def sample(self, rng: np.random.Generator, clips: int | None = None) -> float:
        """A frame rate in frames per second, drawn with the sample's own generator.

        Args:
            rng: The generator.
            clips: Clips trained on before this one's batch, over all processes; a curriculum goes by it. None outside
                training.
        """

    def record(self, fps: Iterable[float]) -> None:
        """Counts the frame rates of a batch that was trained on."""

    def histogram(self) -> dict[int, int]:
        """How often each frame rate was realised: whole frames per second → clips, in ascending order."""

    def state_dict(self) -> dict[str, Any]:
        """All that a checkpoint must keep, as plain data."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from `state_dict`."""


class _Range:
    """Rates between two bounds, counted as they are trained on."""

    def __init__(self, low: float, high: float) -> None:
        if not 0 < low <= high < float("inf"):
            raise UserError(f"fps: need 0 < low <= high, got low={low:g} and high={high:g}; try low=4 high=16.")
        self.low, self.high = low, high
        self._counts: Counter[int] = Counter()

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


class UniformFps(_Range):
    """Frame rates uniform in [low, high).

    Args:
        low: Lowest rate in frames per second, above 0.
        high: Highest rate, at least `low`.

    Raises:
        UserError: Rates that are not 0 < low <= high.
    """

    def sample(self, rng: np.random.Generator, clips: int | None = None) -> float:
        """As `FpsSampler.sample`; the same throughout training."""
        return float(rng.uniform(self.low, self.high))


class BetaFps(_Range):
    """The curriculum of Make-A-Video (§3.3): from high rates, which hold little motion, to low ones, which hold much.

    Rates are ``low + (high - low) * b``, b drawn from a Beta distribution whose mean falls evenly from `first` to
    `last` over training. The paper gives no parameters: these are our choice. Outside training, every stage of the
    curriculum is as likely. The stage follows from the number of clips trained on, so a resumed run goes on where it
    was.

    Args:
        low: Lowest rate in frames per second, above 0.
        high: Highest rate, at least `low`.
        clips: Clips over which the mean falls; afterwards it stays. Steps times the batch of all processes.
        first: The mean of b at the beginning, above 0 and below 1.
        last: The mean of b at the end, likewise.
        concentration: Sum of the distribution's two parameters; the larger, the narrower.

    Raises:
        UserError: A value out of its range.
    """

    def __init__(
        self,
        low: float,
        high: float,
        clips: int,
        first: float = 0.8,
        last: float = 0.2,
        concentration: float = 4.0,
    ) -> None:
        super().__init__(low, high)
        if clips < 1 or not 0 < first < 1 or not 0 < last < 1 or concentration <= 0:
            raise UserError(
                "fps: need clips >= 1, first and last between 0 and 1, and concentration > 0, got "
                f"clips={clips}, first={first:g}, last={last:g}, concentration={concentration:g}; "
                "try first=0.8 last=0.2 concentration=4."
            )
        self.clips, self.first, self.last, self.concentration = clips, first, last, concentration

    def sample(self, rng: np.random.Generator, clips: int | None = None) -> float:
        """As `FpsSampler.sample`."""
        progress = rng.uniform() if clips is None else min(clips / self.clips, 1.0)
        mean = self.first + (self.last - self.first) * progress
        share = rng.beta(mean * self.concentration, (1 - mean) * self.concentration)
        return float(self.low + (self.high - self.low) * share)


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

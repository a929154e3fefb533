"""Sampling of training clips' frame rates, the conditioning of Make-A-Video's decoder (§3.3)."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from mav_lightning.common.arguments import checked
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import Fraction, PositiveFloat, PositiveInt

__all__ = ["BetaFps", "FpsSampler", "UniformFps", "truncate_fps"]


class FpsSampler(Protocol):
    """Base class of samplers of frame rates, which also count the rates trained on."""

    def sample(self, rng: np.random.Generator, clips: int | None = None) -> float:
        """Sample a frame rate in frames per second.

        Args:
            rng: Random generator of the clip.
            clips: Clips trained on before this one's batch, over all processes. None outside training.
        """

    def record(self, fps: Iterable[float]) -> None:
        """Count the frame rates of a training batch."""

    def histogram(self) -> dict[int, int]:
        """Return how often each frame rate was trained on: rounded frames per second → clips, ascending."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state to keep in a checkpoint, as plain data."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state returned by `state_dict`."""


class _Range:
    """Frame rates between two bounds, counted as they are trained on."""

    @checked
    def __init__(self, low: PositiveFloat, high: PositiveFloat) -> None:
        if low > high:
            raise UserError(f"must be at most high ({high:g}), got {low:g}.", argument="low")
        self.low, self.high = low, high
        self._counts: Counter[int] = Counter()

    def record(self, fps: Iterable[float]) -> None:
        """Count the frame rates of a training batch."""
        self._counts.update(round(float(rate)) for rate in fps)

    def histogram(self) -> dict[int, int]:
        """Return how often each frame rate was trained on: rounded frames per second → clips, ascending."""
        return dict(sorted(self._counts.items()))

    def state_dict(self) -> dict[str, Any]:
        """Return the state to keep in a checkpoint, as plain data."""
        return {"counts": self.histogram()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state returned by `state_dict`."""
        self._counts = Counter(state["counts"])


class UniformFps(_Range):
    """Frame rates uniform in [low, high).

    Args:
        low: Lowest frame rate in frames per second.
        high: Highest frame rate in frames per second, at least `low`.

    Raises:
        UserError: A frame rate is not finite and positive, or `low` is above `high`.
    """

    def sample(self, rng: np.random.Generator, clips: int | None = None) -> float:
        """Sample a frame rate; the distribution does not depend on `clips`."""
        return float(rng.uniform(self.low, self.high))


class BetaFps(_Range):
    """Curriculum of Make-A-Video (§3.3) from high frame rates (little motion) to low ones (large motion).

    Frame rates are ``low + (high - low) * b`` with b from a Beta distribution whose mean falls linearly from `first` to
    `last` over training. The paper gives no parameters; these are our choice. Outside training, every phase of the
    curriculum is equally likely. The phase follows from the number of clips trained on, so it resumes exactly.

    Args:
        low: Lowest frame rate in frames per second.
        high: Highest frame rate in frames per second, at least `low`.
        clips: Clips over which the mean falls, after which it stays: steps times the batch size over all processes.
        first: Mean of b at the start, in (0, 1).
        last: Mean of b at the end, in (0, 1).
        concentration: Sum of the two parameters of the Beta distribution; larger is narrower.

    Raises:
        UserError: A value is out of range.
    """

    @checked
    def __init__(
        self,
        low: PositiveFloat,
        high: PositiveFloat,
        clips: PositiveInt,
        first: Fraction = 0.8,
        last: Fraction = 0.2,
        concentration: PositiveFloat = 4.0,
    ) -> None:
        super().__init__(low, high)
        for name, mean in (("first", first), ("last", last)):
            if mean in (0, 1):
                raise UserError(f"must be above 0 and below 1, got {mean:g}.", argument=name)
        self.clips, self.first, self.last, self.concentration = clips, first, last, concentration

    def sample(self, rng: np.random.Generator, clips: int | None = None) -> float:
        """Sample a frame rate for the curriculum's phase; see `FpsSampler.sample`."""
        progress = rng.uniform() if clips is None else min(clips / self.clips, 1.0)
        mean = self.first + (self.last - self.first) * progress
        b = rng.beta(mean * self.concentration, (1 - mean) * self.concentration)
        return float(self.low + (self.high - self.low) * b)


def truncate_fps(fps: float, frames: int, duration: float, source_fps: float) -> float:
    """Clamp a frame rate to what a video can provide without running out of frames or repeating them.

    Args:
        fps: Sampled frame rate in frames per second.
        frames: Frames T of the clip, at least 1.
        duration: Seconds from the video's first frame to its last.
        source_fps: Frame rate of the video in frames per second.

    Returns:
        The frame rate, in [(T - 1) / duration, source_fps].
    """
    slowest = (frames - 1) / duration if duration > 0 else source_fps
    return min(max(fps, slowest), source_fps)

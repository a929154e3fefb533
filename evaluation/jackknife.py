"""Uncertainty of a distance between two sets of clips, and its limit for infinitely many clips."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["BLOCKS", "INTERVAL", "LIMIT", "Jackknife", "deal"]

BLOCKS = 20  # on each side: enough for the t distribution, few enough to be quick
INTERVAL = "delete-a-block jackknife by source video, 95 %, of the"  # continued by what is estimated
LIMIT = "distance of infinitely many clips"


@dataclass(frozen=True)
class Jackknife:
    """Jackknife of a statistic of independent sets: its value, and its values with one block of clips left out.

    A bootstrap would add to the bias of a Fréchet distance, since it draws with replacement.

    References:
        Efron and Stein (1981), The jackknife estimate of variance.

    Attributes:
        value: Statistic of all clips.
        without: For each set, the values without each of its blocks; at least three blocks.
    """

    value: float
    without: tuple[NDArray[np.float64], ...]

    @property
    def extrapolated(self) -> float:
        """Estimate for infinitely many clips: the value minus its bias of order 1/n.

        It may be negative if the truth is near 0, as an unbiased estimate must.
        """
        return self.value - sum((len(side) - 1) * float(side.mean() - self.value) for side in self.without)

    @property
    def error(self) -> float:
        """Standard error, of `value` and of `extrapolated`."""
        parts = ((len(side) - 1) / len(side) * np.square(side - side.mean()).sum() for side in self.without)
        return float(np.sqrt(sum(parts)))

    def interval(self, center: float, level: float = 0.95) -> tuple[float, float]:
        """Return Student's t interval around `center`, which is `value` or `extrapolated`."""
        reach = float(stats.t.ppf((1 + level) / 2, min(map(len, self.without)) - 1)) * self.error
        return center - reach, center + reach

    def to_dict(self) -> dict[str, Any]:
        """Return the jackknife as plain data."""
        return {"value": self.value, "without": [side.tolist() for side in self.without]}

    @classmethod
    def difference(cls, a: "Jackknife", b: "Jackknife") -> "Jackknife":
        """Return the jackknife of the difference a - b of two distances to the same real clips.

        The generated clips of the two are independent; a block of real clips is left out of both distances at once, so
        that what the real clips contribute to both cancels.

        Args:
            a: Jackknife over generated and real clips.
            b: Jackknife of the other system: other generated clips, the same real clips in the same blocks.
        """
        (of_a, real_a), (of_b, real_b) = a.without, b.without
        return cls(a.value - b.value, (of_a - b.value, a.value - of_b, real_a - real_b))


def deal(groups: Sequence[Hashable], blocks: int = BLOCKS) -> NDArray[np.intp]:
    """Assign whole groups to blocks in turn; return the block of each clip, shape (N,), numbered from 0."""
    block_of = {group: number % blocks for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([block_of[group] for group in groups], dtype=np.intp)

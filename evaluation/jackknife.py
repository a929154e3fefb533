"""How sure a distance between two sets of clips is, and what it would be with infinitely many."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["BLOCKS", "INTERVAL", "LIMIT", "Jackknife", "deal"]

BLOCKS = 20  # on each side: enough for the t distribution, few enough to be quick
INTERVAL = "delete-a-block jackknife by source video, 95 %, of the"  # continued by what is estimated
LIMIT = "distance of infinitely many clips"


@dataclass(frozen=True)
class Jackknife:
    """A statistic of independent sets, and what it becomes without each block of any of them.

    A bootstrap would not do: drawing with replacement adds to the very bias that a Fréchet distance has.

    References:
        Efron and Stein (1981), The jackknife estimate of variance.

    Attributes:
        value: Of all clips.
        without: For each set, the values without each of its blocks; three blocks or more.
    """

    value: float
    without: tuple[NDArray[np.float64], ...]

    @property
    def extrapolated(self) -> float:
        """The value without its bias of order 1/n, of any set: what infinitely many clips would give.

        It may be negative where the truth is near 0, as an unbiased estimate must.
        """
        return self.value - sum((len(side) - 1) * float(side.mean() - self.value) for side in self.without)

    @property
    def error(self) -> float:
        """The standard error, of `value` and of `extrapolated` alike."""
        parts = ((len(side) - 1) / len(side) * np.square(side - side.mean()).sum() for side in self.without)
        return float(np.sqrt(sum(parts)))

    def interval(self, centre: float, level: float = 0.95) -> tuple[float, float]:
        """Student's t around `centre`, which is `value` or `extrapolated`."""
        reach = float(stats.t.ppf((1 + level) / 2, min(map(len, self.without)) - 1)) * self.error
        return centre - reach, centre + reach


def deal(groups: Sequence[Hashable], blocks: int = BLOCKS) -> NDArray[np.intp]:
    """Deals whole groups to blocks in turn: the block of each clip, (N,), numbered from 0 without a gap."""
    block_of = {group: number % blocks for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([block_of[group] for group in groups], dtype=np.intp)

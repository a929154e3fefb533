"""What a metric is given and what it gives."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluation.cuts import Cut
from evaluation.extractors.base import Extractor
from evaluation.intervals import Interval

__all__ = ["Better", "Features", "Measured", "Metric", "Outcome", "Score", "Side", "plain"]

Better = Literal["lower", "higher", "one", "neither"]
Side = Literal["generated", "real"]


@dataclass(frozen=True)
class Score:
    """One number of the results.

    Attributes:
        value: NaN where nothing could be measured (written as null).
        interval: At 95 %; None where n is too small.
        interval_kind: How the interval was made, and of what.
        n: Clips that count.
        better: ``one`` is best near 1; ``neither`` describes, and has no best.
        unit: Of value and interval.
    """

    value: float
    interval: Interval
    interval_kind: str
    n: int
    better: Better
    unit: str

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Features:
    """What an extractor gave for the clips of one side.

    Attributes:
        ids: One for each clip.
        groups: Clips of one group are not independent.
        values: Shape (clips, rows, d), as stored.
    """

    ids: Sequence[str]
    groups: Sequence[str]
    values: NDArray[np.floating]


class Measured(Protocol):
    """Everything that was extracted under a protocol."""

    force: bool
    rates: tuple[float, ...]  # frame rates that numbers are told apart by; empty where time is not counted

    def cuts(self, side: Side) -> Sequence[Cut]:
        """The clips of a side, ordered by id."""

    def features(self, extractor: str, side: Side) -> Features:
        """Of all clips of a side, in the order of `cuts`."""

    def texts(self, extractor: str) -> Mapping[str, NDArray[np.floating]]:
        """Prompt → its unit vector, (d,)."""

    def network(self, extractor: str) -> Extractor:
        """The loaded extractor."""


@dataclass(frozen=True)
class Outcome:
    """What one metric adds to the results.

    Attributes:
        scores: By name.
        curves: Name of a score → its value at smaller numbers of clips: n, value, and how many subsets it is a mean of.
        clips: Id of a generated clip → what was measured of it alone.
        by_fps: Frame rate → values of the clips at that rate.
        reference: Values of the real clips: what a perfect model would score.
    """

    scores: Mapping[str, Score]
    curves: Mapping[str, list[dict[str, float]]] = field(default_factory=dict)
    clips: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    by_fps: Mapping[str, dict[str, float]] = field(default_factory=dict)
    reference: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """A metric with its settings; all of them move its numbers.

    Attributes:
        kind: What protocols call it.
        needs_real: Whether it compares with real clips.
        reads_real: Whether it looks at the features of real clips, if there are any.
        roles: Field that names an extractor → kinds of extractors that can play the part.
    """

    kind: ClassVar[str]
    needs_real: ClassVar[bool] = False
    reads_real: ClassVar[bool] = True
    roles: ClassVar[Mapping[str, tuple[str, ...]]]

    @abstractmethod
    def outcome(self, name: str, measured: Measured) -> Outcome:
        """Measures.

        Args:
            name: What the protocol calls the metric.
            measured: Features of both sides.

        Raises:
            UserError: Too few clips, unless forced.
        """

    def needs(self) -> dict[str, str]:
        """Role → name of the extractor that plays it."""
        return {role: getattr(self, role) for role in self.roles}

    def takes(self, role: str) -> tuple[str, ...]:
        """Kinds of extractors that can play a role."""
        return self.roles[role]


def plain(value: Any) -> Any:
    """Tuples to lists, and None for every number that JSON does not have."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Contract of metrics: what a metric declares, what it is given and what it returns."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from evaluation.cuts import Cut
from evaluation.extractors.base import Extractor
from evaluation.intervals import Interval
from evaluation.jackknife import Jackknife
from mav_lightning.common.errors import UserError

__all__ = [
    "Direction",
    "ExtractedFeatures",
    "Features",
    "Metric",
    "MetricResult",
    "Number",
    "Score",
    "Side",
    "to_plain",
]

Direction = Literal["lower", "higher", "one"]
Side = Literal["generated", "real"]


class Number(NamedTuple):
    """Direction and unit of one number that a metric computes.

    Attributes:
        better: Which values are better; ``one`` means near 1. None if the number only describes.
        unit: Unit of the number.
    """

    better: Direction | None
    unit: str


@dataclass(frozen=True)
class Score:
    """One number of the results.

    Attributes:
        value: The number. NaN if it could not be measured; written as null.
        interval: 95 % confidence interval. None if there are too few clips.
        interval_kind: How the interval was computed, and of which quantity.
        n: Number of clips that were counted.
        better: Which values are better; ``one`` means near 1, and ``neither`` that the number only describes.
        unit: Unit of value and interval.
    """

    value: float
    interval: Interval
    interval_kind: str
    n: int
    better: Direction | Literal["neither"]
    unit: str

    def to_dict(self) -> dict[str, Any]:
        """Return the score as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Features:
    """Output of an extractor for the clips of one side.

    Attributes:
        ids: Id of each clip.
        groups: Group of each clip; clips of one group are not independent, for example cut from one video.
        values: Stored rows, shape (clips, rows, d).
    """

    ids: Sequence[str]
    groups: Sequence[str]
    values: NDArray[np.floating]


class ExtractedFeatures(Protocol):
    """Everything that was extracted under a protocol; the input of `Metric.measure`."""

    force: bool
    rates: tuple[float, ...]  # frame rates that are reported separately; empty if the protocol ignores time

    def cuts(self, side: Side) -> Sequence[Cut]:
        """Return the clips of a side, ordered by id."""

    def features(self, extractor: str, side: Side) -> Features:
        """Return the features of all clips of a side, in the order of `cuts`."""

    def texts(self, extractor: str) -> Mapping[str, NDArray[np.floating]]:
        """Return prompt → unit vector, shape (d,)."""

    def network(self, extractor: str) -> Extractor:
        """Return the loaded extractor."""


@dataclass(frozen=True)
class MetricResult:
    """Result of one metric.

    Attributes:
        scores: Name → score.
        curves: Name of a score → its value at smaller numbers of clips: n, value, and the number of subsets averaged.
        clips: Id of a generated clip → values measured on it alone.
        by_fps: Frame rate → values of the clips at that rate.
        reference: Name → value of the real clips: what a perfect model would score.
        jackknife: Name → jackknife of a distance; its sets are the generated and the real clips.
        notes: Warnings about the use of the numbers.
    """

    scores: Mapping[str, Score]
    curves: Mapping[str, list[dict[str, float]]] = field(default_factory=dict)
    clips: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    by_fps: Mapping[str, dict[str, float]] = field(default_factory=dict)
    reference: Mapping[str, float] = field(default_factory=dict)
    jackknife: Mapping[str, Jackknife] = field(default_factory=dict)
    notes: Sequence[str] = ()


class Metric(ABC):
    """A metric with its settings in a protocol: a frozen dataclass, whose fields are part of the protocol's hash.

    Attributes:
        kind: Name in protocols. Set it in this project's own metrics; others are named by their dotted class name.
        numbers: Pattern of a number's name → its direction and unit. In a pattern, ``{name}`` stands for the metric's
            name in the protocol, and ``{fps}`` for each of the protocol's frame rates.
        roles: Field that names an extractor → the class of extractors that it accepts.
        needs_real: Whether the metric compares with real clips.
        independent_of_count: Whether the expected numbers are the same for any number of clips, as those of means over
            clips are. Otherwise results of other numbers of clips are not compared.
        reads_real: Whether the metric uses features of real clips, if the protocol has real clips.
        reads_prompts: Whether the numbers depend on prompts or on known content of clips.
        needs_facts: What must be known of a generated clip, or the metric has no value for it: ``prompt``, or names of
            attributes.
    """

    kind: ClassVar[str]
    numbers: ClassVar[Mapping[str, Number]]
    roles: ClassVar[Mapping[str, type[nn.Module]]]
    needs_real: ClassVar[bool] = False
    independent_of_count: ClassVar[bool] = False
    reads_real: ClassVar[bool] = True
    reads_prompts: ClassVar[bool] = True
    needs_facts: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute the metric.

        Args:
            name: Name of the metric in the protocol.
            extracted: Features of both sides.

        Returns:
            Scores under exactly the names that `numbers` declares.

        Raises:
            UserError: If there are too few clips, unless `extracted.force`.
        """

    def measured(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute the metric, and check what the subclass returns.

        Args:
            name: Name of the metric in the protocol.
            extracted: Features of both sides.

        Returns:
            The result, with tensors and arrays of one number as numbers.

        Raises:
            UserError: If it is no `MetricResult`, a score was not declared, or a value is not a number.
        """
        result, where = self.measure(name, extracted), f"metric `{name}` ({type(self).__name__})"
        if not isinstance(result, MetricResult):
            raise UserError(f"{where}: `measure` must return a MetricResult, got a {type(result).__name__}.")
        declared = self.declared(name, extracted.rates)
        if unknown := sorted(result.scores.keys() - declared.keys()):
            raise UserError(f"{where}: gives `{unknown[0]}` and declares {', '.join(declared)}; add it to `numbers`.")
        values = {key: _number(score.value, f"{where}: `{key}`") for key, score in result.scores.items()}
        return replace(result, scores={key: replace(result.scores[key], value=values[key]) for key in values})

    def fewest_clips(self, shape_of: Callable[[str], tuple[int, int]]) -> int:
        """Return how many clips of each side the metric needs, so that too few are rejected before extraction.

        Args:
            shape_of: Returns rows and columns of the features of one clip, by the extractor's name in the protocol.
        """
        return 1

    def extractors(self) -> dict[str, str]:
        """Return role → name of the extractor in the protocol."""
        return {role: getattr(self, role) for role in self.roles}

    @classmethod
    def declared(cls, name: str, rates: Sequence[float]) -> dict[str, Number]:
        """Return the names, directions and units of the numbers that the metric gives under a protocol.

        Args:
            name: Name of the metric in the protocol.
            rates: Frame rates of the protocol; empty if it ignores time.
        """
        found = {}
        for pattern, number in cls.numbers.items():
            for rate in rates if "{fps}" in pattern else (0.0,):
                found[pattern.format(name=name, fps=f"{rate:g}")] = number
        return found

    @classmethod
    def score(cls, pattern: str, value: float, interval: Interval, interval_kind: str, n: int) -> Score:
        """Return a score with the direction and unit that the metric declares.

        Args:
            pattern: Key of `numbers`.
            value: The number.
            interval: 95 % confidence interval. None if there are too few clips.
            interval_kind: How the interval was computed, and of which quantity.
            n: Number of clips that were counted.
        """
        better, unit = cls.numbers[pattern]
        return Score(value, interval, interval_kind, n, better or "neither", unit)


def _number(value: Any, where: str) -> float:
    """Return a score's value as a number; NaN stands for none."""
    if isinstance(value, int | float):
        return value
    try:
        return math.nan if value is None else float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"{where}: must be one number, got {str(value)[:80]}.") from None


def to_plain(value: Any) -> Any:
    """Convert tuples to lists and numbers that are not finite to None, as JSON requires."""
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Contract of extractors: networks and measurements that turn clips into rows of numbers.

An extractor is one file: a subclass of one of the classes below, and an `ExtractorSettings` that a protocol names. The
base class states what the rows mean; that decides which metrics can use them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from evaluation.clip_sources import Clip

__all__ = [
    "ClipFeatures",
    "ClipProbabilities",
    "Extractor",
    "ExtractorSettings",
    "FeatureExtractor",
    "FrameFeatures",
    "LoadedExtractor",
    "Measurement",
    "MeasurementSettings",
    "TextExtractor",
]


class Extractor(nn.Module):
    """Turns clips into rows of numbers in two steps: `prepare` for each clip, then ``forward`` for a batch.

    `prepare` runs where the clip is decoded, in threads: it resizes, so that clips of any size meet in one batch.

    Attributes:
        finite: Whether every value must be finite. If False, NaN marks a value that is undefined.
    """

    finite: ClassVar[bool] = True

    @abstractmethod
    def prepare(self, clip: Clip) -> Tensor:
        """Return the network's input for one clip; its shape depends on the number of frames only."""

    @abstractmethod
    def forward(self, prepared: Tensor) -> Tensor:
        """Compute features of a batch: (N, …) as `prepare` returns them → (N, rows, d), float32 or float64."""


class FeatureExtractor(Extractor):
    """Extractor of feature vectors whose distributions can be compared."""


class ClipFeatures(FeatureExtractor):
    """Extractor of one feature vector per clip: (N, 1, d)."""


class FrameFeatures(FeatureExtractor):
    """Extractor of one feature vector per frame: (N, T, d)."""


class ClipProbabilities(ClipFeatures):
    """Classifier of clips: (N, 1, classes), each row non-negative with sum 1."""


class TextExtractor(FrameFeatures):
    """Extractor that embeds frames and captions in one space."""

    @abstractmethod
    def texts(self, captions: Sequence[str]) -> Tensor:
        """Return the unit vectors of N captions, shape (N, d)."""


class Measurement(Extractor):
    """Values computed in `prepare` without a network; ``forward`` returns them unchanged. NaN is undefined."""

    finite = False

    def forward(self, prepared: Tensor) -> Tensor:
        """Return the values unchanged, shape (N, rows, d)."""
        return prepared


@dataclass(frozen=True)
class LoadedExtractor:
    """An extractor in evaluation mode.

    Attributes:
        extractor: The network or measurement.
        sha256: sha256 of the weights it was loaded from; empty if it has none.
    """

    extractor: Extractor
    sha256: str = ""


class ExtractorSettings(ABC):
    """Settings of an extractor in a protocol: a frozen dataclass, whose fields are part of the protocol's hash.

    Attributes:
        kind: Name in protocols. Set it in this project's own extractors; others are named by their dotted class name.
        network: Class of the extractor that `load` returns, which decides the metrics that can use it.
        metric_prefix: Required first part of the names of metrics that use the extractor; empty for none.
    """

    kind: ClassVar[str]
    network: ClassVar[type[Extractor]]
    metric_prefix: ClassVar[str] = ""

    @abstractmethod
    def load(self, weights: Path) -> LoadedExtractor:
        """Load the extractor in evaluation mode, on the CPU.

        Args:
            weights: Folder of weights that the user provides.

        Raises:
            UserError: If weights are missing or are not those that the settings pin.
        """


class MeasurementSettings(ExtractorSettings):
    """Base of settings of measurements, which have no weights."""

    network: ClassVar[type[Measurement]]

    def load(self, weights: Path) -> LoadedExtractor:
        """Return the measurement; `weights` is not used."""
        return LoadedExtractor(self.network())

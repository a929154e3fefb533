"""Settings shared by extractors whose weights are one file that the user provides."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

from evaluation.extractors.base import Extractor, ExtractorSettings, LoadedExtractor
from evaluation.resize import RESIZERS, Resize, resizer
from evaluation.weight_files import check_weights
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveInt

__all__ = ["WeightFileSettings"]


@dataclass(frozen=True)
class WeightFileSettings(ExtractorSettings):
    """Settings of an extractor that is loaded from one file.

    Attributes:
        weights: Name of the file in the folder of weights, or a path.
        sha256: Expected sha256 of the file. None accepts any.
        git_blob: Expected git blob id of the file, 40 hexadecimal digits. None accepts any.
        resize: Name of a rule in `evaluation.resize`. None leaves resizing to the network.
        size: Height and width after resizing, in pixels.
    """

    weights: str
    sha256: str | None = None
    git_blob: str | None = None
    resize: str | None = None
    size: PositiveInt = 224

    def load(self, weights: Path) -> LoadedExtractor:
        """Check the file's hash, then load the extractor.

        Raises:
            UserError: If the file is missing, is not the one pinned, or cannot be read.
        """
        path = weights / self.weights
        sha256 = check_weights(path, self.sha256, self.git_blob)
        return LoadedExtractor(self.open(path), sha256)

    @abstractmethod
    def open(self, path: Path) -> Extractor:
        """Load the extractor from a file whose hash has been checked."""

    def resizer(self) -> Resize | None:
        """Return the resizing rule, or None if the network resizes itself."""
        return None if self.resize is None else resizer(self.resize, self.size)

    def required_resizer(self) -> Resize:
        """Return the resizing rule.

        Raises:
            UserError: If `resize` is None.
        """
        if self.resize is None:
            raise UserError(f"extractor of `{self.weights}`: needs `resize`, one of {', '.join(RESIZERS)}.")
        return resizer(self.resize, self.size)

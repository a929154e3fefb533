"""What every extractor is: something done to each clip where it is read, then something done to batches."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from evaluation.clip_sources import Clip

__all__ = ["Extractor", "TextExtractor"]


class Extractor(nn.Module):
    """Turns clips into features, in two steps.

    `prepare` resizes one clip, where it is read, so that clips of any size meet in one batch and the work is shared.
    ``forward`` then runs a network on a batch of what was prepared. A measure without a network does all of it in
    `prepare`, and its ``forward`` gives the values on.

    Rows are what is counted: one a clip for the features of a video, one a frame for those of images.

    Attributes:
        finite: Whether every value must be a number; measures that may be undefined have NaN there.
    """

    finite = True

    @abstractmethod
    def prepare(self, clip: Clip) -> Tensor:
        """What the network is to see of one clip, of one shape for all clips of as many frames."""

    @abstractmethod
    def forward(self, prepared: Tensor) -> Tensor:
        """Features: N prepared clips, stacked → (N, rows, d), float32; float64 where values are exact."""


class TextExtractor(Extractor):
    """An extractor whose features are unit vectors in the space of captions too."""

    @abstractmethod
    def texts(self, captions: Sequence[str]) -> Tensor:
        """Unit vectors of N captions, (N, d)."""

"""What every extractor is: something done to each clip where it is read, then something done to batches."""

from abc import abstractmethod

from torch import Tensor, nn

from evaluation.clips import Clip

__all__ = ["Extractor"]


class Extractor(nn.Module):
    """Turns clips into features, in two steps.

    `prepare` resizes one clip, in the process that reads it, so that clips of any size meet in one batch and the work
    is shared among processes. ``forward`` then runs a network on a batch of what was prepared. A measure without a
    network does all of it in `prepare`, and its ``forward`` gives the values on.

    Rows are what is counted: one a clip for the features of a video, one a frame for those of images.
    """

    @abstractmethod
    def prepare(self, clip: Clip) -> Tensor:
        """What the network is to see of one clip, of one shape for all clips of as many frames."""

    @abstractmethod
    def forward(self, prepared: Tensor) -> Tensor:
        """Features: N prepared clips, stacked → (N, rows, d), float32."""

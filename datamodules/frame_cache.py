"""In-memory cache of decoded frames, for small datasets whose decoding costs more than the training step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mav_lightning.media.timeline import Timeline

__all__ = ["FrameCache", "KeptFrames"]


@dataclass(frozen=True)
class KeptFrames:
    """All frames of a sample at training size.

    Attributes:
        frames: Frames, shape (T, H, W, 3), uint8, or cached latents, shape (T, C, height, width), float16; T is 1 for
            an image.
        timeline: Times of the frames. None for an image.
    """

    frames: NDArray[np.uint8] | NDArray[np.float16]
    timeline: Timeline | None = None


class FrameCache:
    """Cache of whole videos and images at training size, filled until a budget is used up.

    Nothing is evicted, since under a shuffle every sample is equally likely to come next. Results do not depend on what
    is cached. Each worker process has its own cache.

    Args:
        budget: Size limit in bytes. 0 disables the cache.
    """

    def __init__(self, budget: int) -> None:
        self.free = budget
        self._kept: dict[str, KeptFrames] = {}

    def find(self, key: str) -> KeptFrames | None:
        """Return the frames of a sample, or None if they are not cached."""
        return self._kept.get(key)

    def keep(self, key: str, size: int, decode: Callable[[], KeptFrames]) -> KeptFrames | None:
        """Decode and cache all frames of a sample.

        Args:
            key: Name of the sample.
            size: Size of the decoded frames in bytes.
            decode: Decodes them.

        Returns:
            The frames. None, without decoding them, if they do not fit.
        """
        if size > self.free:
            return None
        self._kept[key] = decode()
        self.free -= size
        return self._kept[key]

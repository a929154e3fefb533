"""In-memory cache of decoded frames, for small datasets whose decoding costs more than the training step."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameCache"]


class FrameCache:
    """Cache of whole videos and images at training size, filled until a budget is used up.

    Nothing is evicted, since under a shuffle every sample is equally likely to come next. Results do not depend on what
    is cached. Each worker process has its own cache.

    Args:
        budget: Size limit in bytes. 0 disables the cache.
    """

    def __init__(self, budget: int) -> None:
        self.free = budget
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def get(self, key: str, size: int, decode: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8] | None:
        """Return all frames of a sample, decoding them at first use.

        Args:
            key: Name of the sample.
            size: Size of the decoded frames in bytes.
            decode: Decodes them.

        Returns:
            The frames. None if they do not fit.
        """
        if key not in self._kept:
            if size > self.free:
                return None
            self._kept[key] = decode()
            self.free -= size
        return self._kept[key]

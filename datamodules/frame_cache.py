"""Decoded frames kept in memory, for data sets so small that decoding them again each pass costs more than the step."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameCache"]


class FrameCache:
    """Keeps whole videos and images at training size until the budget is used up, and nothing after that.

    Nothing is ever thrown out: under a shuffle every sample is as likely to come next as any other. A reader's results
    do not depend on what is kept. Each worker process has its own.

    Args:
        budget: Most bytes to keep; 0 keeps nothing.
    """

    def __init__(self, budget: int) -> None:
        self.free = budget
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def get(self, key: str, size: int, decode: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8] | None:
        """All frames of sample `key`, decoded on first sight; None where their `size` in bytes does not fit."""
        if key not in self._kept:
            if size > self.free:
                return None
            self._kept[key] = decode()
            self.free -= size
        return self._kept[key]

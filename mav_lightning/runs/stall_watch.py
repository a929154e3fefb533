"""Detection of a stage that makes no progress, by the age of its own traces."""

import os
import time
from pathlib import Path

from mav_lightning.common.lease import LEASE

__all__ = ["StallWatch"]

_LOOK = 1.0  # seconds between two looks at the folder


class StallWatch:
    """Watch the folder of a stage: its progress, log and checkpoints.

    A change counts when it is seen, by this process's clock, so that clocks of other machines do not matter.

    Args:
        folder: Folder of the stage.
        limit: Seconds without a change after which the stage is stuck.

    Attributes:
        ending: Time, by `time.monotonic`, at which the stage was found stuck. None if it is not.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        self.folder, self.limit = folder, limit
        self.ending: float | None = None
        self._seen: list[tuple[str, int, int]] = []
        self._changed = self._looked = 0.0

    def start(self) -> None:
        """Reset the clock at the start of an attempt of the stage."""
        self.ending, self._changed, self._looked = None, time.monotonic(), 0.0

    def moved(self) -> bool:
        """Return whether the folder has changed since the last look, which is at most a second ago."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return False
        self._looked, before, self._seen = now, self._seen, self._traces()
        if self._seen == before or self.ending is not None:
            return False
        self._changed = now
        return True

    def must_end(self, grace: float) -> bool | None:
        """Return whether the stage must be ended: None for no, False for a request, True for force.

        The request is returned once, force after `grace` seconds.

        Args:
            grace: Seconds that the stage has to save and end.
        """
        now = time.monotonic()
        if self.ending is not None:
            return True if now - self.ending > grace else None
        if now - self._changed <= self.limit:
            return None
        self.ending = now
        return False

    def _traces(self) -> list[tuple[str, int, int]]:
        """Return name, time and size of what a stage writes; folders change as files appear in them."""
        traces = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                try:
                    status = entry.stat()
                except FileNotFoundError:  # a temporary file
                    continue
                if entry.name != LEASE:
                    traces.append((entry.name, status.st_mtime_ns, status.st_size))
        return sorted(traces)

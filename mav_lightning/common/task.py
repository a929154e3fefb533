"""The contract of a stage's task: work that a config describes and a stage runs."""

from abc import ABC, abstractmethod
from pathlib import Path

from mav_lightning.common.planned_clips import PlannedClips
from mav_lightning.common.tracking import Track

__all__ = ["Task"]


class Task(ABC):
    """Work of a stage that is not a training by Lightning: writing data, fitting in closed form, sampling.

    Implement it as a frozen dataclass whose fields are the arguments in the config. Building a task only checks and
    stores them; `run` does the work.
    """

    @abstractmethod
    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Do the work and write its result.

        Args:
            place: Folder for the result. It appears complete or not at all.
            seed: Seed of all random choices. None for stages without randomness.
            track: Wraps the items worked on, to show progress.

        Raises:
            UserError: If the arguments cannot be used, for example a folder that is missing.
        """

    def planned_clips(self) -> PlannedClips | None:
        """Describe the clips that the task will write, so that their scoring can be checked before anything runs.

        Returns:
            The clips. None if the task writes none, or it is not known before.

        Raises:
            UserError: If the arguments cannot be used.
        """
        return None

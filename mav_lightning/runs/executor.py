"""Where stages run: the interface, and this machine."""

import sys
from collections.abc import Sequence
from typing import Protocol

from mav_lightning.common.errors import UserError
from mav_lightning.runs.job import Job
from mav_lightning.runs.lease import claim
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["STAGE_COMMAND", "Executor", "Local", "Running"]

# Runs the stage in the folder given as its last argument.
STAGE_COMMAND = (sys.executable, "-m", "mav_lightning", "stage")


class Running(Protocol):
    """A stage that an executor has started."""

    @property
    def stage(self) -> Stage:
        """What runs."""

    @property
    def folder(self) -> StageFolder:
        """Its folder."""

    @property
    def started(self) -> float:
        """When, in seconds since 1970."""

    def ended(self) -> bool:
        """Whether it has ended; gives a sign of life where it has not."""

    def conclude(self) -> bool | None:
        """Of an ended one: whether the stage is done; None where somebody else turned out to have it."""

    def stop(self) -> None:
        """Asks it to save and end."""

    def abandon(self, grace: float) -> None:
        """Ends a stopped one, by force after `grace` seconds; the stage stays to be continued."""


class Executor(Protocol):
    """Starts stages somewhere. The ledger is the truth: an executor keeps nothing that the folders do not say."""

    @property
    def jobs(self) -> int:
        """Stages that may be started at once."""

    def start(self, stage: Stage, folder: StageFolder) -> Running | None:
        """Starts a stage; None where another process holds it or has just finished it."""


class Local:
    """Runs stages as subprocesses on this machine.

    Args:
        jobs: Stages that run at once.
        threads: Each stage computes with.
        command: Runs the stage in the folder given as its last argument and exits with 0, leaving ``cost.json``; None
            for `STAGE_COMMAND`.

    Raises:
        UserError: `jobs` below 1.
    """

    def __init__(self, jobs: int = 1, threads: int = 2, command: Sequence[str] | None = None) -> None:
        if jobs < 1:
            raise UserError(f"jobs must be at least 1, got {jobs}.")
        self.jobs, self.threads, self.command = jobs, threads, tuple(command or STAGE_COMMAND)

    def start(self, stage: Stage, folder: StageFolder) -> Job | None:
        """Claims the stage and starts it."""
        lease = claim(folder.path)
        if lease is None:
            return None
        if folder.done_file.exists():  # somebody finished it between the schedule's look and our claim
            lease.release()
            return None
        return Job(stage, folder, lease, self.command, self.threads)

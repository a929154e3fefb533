"""Executors: where stages run. The interface, and the local machine."""

import sys
from collections.abc import Sequence
from typing import Protocol

from mav_lightning.common.errors import UserError
from mav_lightning.common.lease import claim
from mav_lightning.runs.job import STALL, Job
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["STAGE_COMMAND", "Executor", "Local", "Running"]

# Runs the stage in the folder given as its last argument.
STAGE_COMMAND = (sys.executable, "-m", "mav_lightning", "stage")


class Running(Protocol):
    """A stage that an executor has started."""

    @property
    def stage(self) -> Stage:
        """The stage."""

    @property
    def folder(self) -> StageFolder:
        """Its folder."""

    @property
    def started(self) -> float:
        """Start time in seconds since 1970."""

    def ended(self) -> bool:
        """Return whether the stage has ended; otherwise renew its lease if it has made progress."""

    def conclude(self) -> bool | None:
        """Record the end of a stage.

        Returns:
            Whether the stage is done; None if another process turned out to hold it.
        """

    def stop(self) -> None:
        """Ask the stage to save and end."""

    def abandon(self, grace: float) -> None:
        """End a stopped stage, by force after `grace` seconds. It can be resumed."""


class Executor(Protocol):
    """Starts stages. The ledger is the only state: an executor keeps nothing that the folders do not hold."""

    @property
    def jobs(self) -> int:
        """Number of stages that may run at once."""

    def start(self, stage: Stage, folder: StageFolder) -> Running | None:
        """Start a stage; return None if another process holds it or has just finished it."""


class Local:
    """Runs stages as subprocesses on this machine.

    Args:
        jobs: Number of stages that run at once.
        threads: CPU threads per stage.
        command: Command that runs the stage in the folder given as its last argument, writes ``cost.json`` and exits
            with 0. None for `STAGE_COMMAND`.
        stall: Seconds without progress after which a stage is ended and started again, once; see `Job`.

    Raises:
        UserError: If `jobs` is below 1.
    """

    def __init__(
        self, jobs: int = 1, threads: int = 2, command: Sequence[str] | None = None, stall: float = STALL
    ) -> None:
        if jobs < 1:
            raise UserError(f"must be at least 1, got {jobs}.", argument="jobs")
        self.jobs, self.threads, self.command, self.stall = jobs, threads, tuple(command or STAGE_COMMAND), stall

    def start(self, stage: Stage, folder: StageFolder) -> Job | None:
        """Claim the stage and start it."""
        lease = claim(folder.path)
        if lease is None:
            return None
        if folder.done_file.exists():  # another process finished it between the scheduler's look and this claim
            lease.release()
            return None
        try:
            return Job(stage, folder, lease, self.command, self.threads, self.stall)
        except BaseException:  # a full disk, or no process more; in this process, the claim would last
            lease.release()
            raise

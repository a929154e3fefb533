"""The ledger: the states of all stages, read from their folders and nowhere else."""

import os
from enum import StrEnum
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.common.lease import LEASE, held
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["Ledger", "State", "check_stages", "require_stages", "share_stages"]


class State(StrEnum):
    """State of a stage, as its folder shows it."""

    PENDING = "pending"  # not started
    RUNNING = "running"  # a living process holds it
    DONE = "done"
    FAILED = "failed"  # ended without a result; the next run retries it
    STALE = "stale"  # its process was killed; the next run resumes it


class Ledger:
    """The stages under ``<root>/stages``.

    Args:
        root: Folder of a study, or of several studies that share stages.
    """

    def __init__(self, root: Path) -> None:
        self.stages = root / "stages"
        self._found: dict[str, Path] = {}

    def folder(self, stage: Stage) -> StageFolder:
        """Return the stage's folder. A folder with the same id and another name is reused."""
        if stage.id not in self._found:
            found = sorted(self.stages.glob(f"*-{stage.id}"))
            if not found:
                return StageFolder(self.stages / f"{stage.name}-{stage.id}")
            self._found[stage.id] = found[0]  # the scheduler asks for every stage several times a second
        return StageFolder(self._found[stage.id])

    def state(self, stage: Stage) -> State:
        """Return the current state on disk."""
        folder = self.folder(stage)
        if folder.done_file.exists():
            return State.DONE
        if held(folder.path):
            return State.RUNNING
        if folder.failed_file.exists():
            return State.FAILED
        return State.STALE if (folder.path / LEASE).exists() else State.PENDING


def share_stages(root: Path, other: Path) -> None:
    """Let one study use the stages of another, and add its own to them.

    Args:
        root: Folder of the study.
        other: Folder of the other study.

    Raises:
        UserError: If `other` has no stages, `root` already has its own, or shared stages are gone.
    """
    require_stages(other)
    there, here = other / "stages", root / "stages"
    root.mkdir(parents=True, exist_ok=True)
    try:
        here.symlink_to(os.path.relpath(there.resolve(), root.resolve()), target_is_directory=True)
    except FileExistsError:
        check_stages(root)
        if not here.samefile(there):
            raise UserError(
                f"{root}: already has stages of its own; to share stages, choose a new output folder; otherwise "
                "leave `beside` out."
            ) from None


def require_stages(other: Path) -> None:
    """Check that a folder has stages to share.

    Raises:
        UserError: If `other` has no stages.
    """
    if not (other / "stages").is_dir():
        raise UserError(f"{other}: no stages there; give the folder of a study that has been run.", argument="beside")


def check_stages(root: Path) -> None:
    """Check that the stages a study shares still exist.

    Raises:
        UserError: If the link in `root` is broken.
    """
    here = root / "stages"
    if here.is_symlink() and not here.exists():
        raise UserError(
            f"{root}: its stages are in {here.readlink()}, which no longer exists; restore that folder, or remove "
            f"{here} and set `beside` again."
        )

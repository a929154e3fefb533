"""The ledger: what has been done, read from the stage folders and nowhere else."""

import os
from enum import StrEnum
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.runs.lease import LEASE, held
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["Ledger", "State", "check_stages", "require_stages", "share_stages"]


class State(StrEnum):
    """What a stage's folder says about it."""

    PENDING = "pending"  # nobody has begun
    RUNNING = "running"  # a living process holds it
    DONE = "done"
    FAILED = "failed"  # ended by itself without a result; the next run tries again
    STALE = "stale"  # whoever ran it was killed; the next run continues it


class Ledger:
    """The stages under ``<root>/stages``.

    Args:
        root: Folder of a study, or of several that share stages.
    """

    def __init__(self, root: Path) -> None:
        self.stages = root / "stages"
        self._found: dict[str, Path] = {}

    def folder(self, stage: Stage) -> StageFolder:
        """The stage's folder; one that another name left behind is found by its id and used."""
        if stage.id not in self._found:
            found = sorted(self.stages.glob(f"*-{stage.id}"))
            if not found:
                return StageFolder(self.stages / f"{stage.name}-{stage.id}")
            self._found[stage.id] = found[0]  # a driver asks for every stage several times a second
        return StageFolder(self._found[stage.id])

    def state(self, stage: Stage) -> State:
        """What the disk says now."""
        folder = self.folder(stage)
        if folder.done_file.exists():
            return State.DONE
        if held(folder.path):
            return State.RUNNING
        if folder.failed_file.exists():
            return State.FAILED
        return State.STALE if (folder.path / LEASE).exists() else State.PENDING


def share_stages(root: Path, other: Path) -> None:
    """Makes `root`, a study's folder, use the stages of `other`, another's, and add its own to them.

    Raises:
        UserError: `other` has no stages, `root` has some of its own already, or those that it shared are gone.
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
                f"{root}: has stages of its own already; give a new folder as --out, or leave --beside out."
            ) from None


def require_stages(other: Path) -> None:
    """Checks that a study may be beside `other`.

    Raises:
        UserError: `other` has no stages.
    """
    if not (other / "stages").is_dir():
        raise UserError(f"--beside {other}: no stages there; give the folder of a study that has been run.")


def check_stages(root: Path) -> None:
    """Tells where the stages that a study shares have gone.

    Raises:
        UserError: The link in `root` leads nowhere.
    """
    here = root / "stages"
    if here.is_symlink() and not here.exists():
        raise UserError(
            f"{root}: its stages lie in {here.readlink()}, which is gone; put them back there, or remove {here} and "
            "give --beside anew."
        )

"""The folder of one training: whose it is, how far it is, and whether its result is complete."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule
from lightning_utilities.core.rank_zero import rank_zero_only, rank_zero_warn

from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.identity import identity_sha256
from mav_lightning.networks.card import CARD, WEIGHTS
from mav_lightning.training.checkpoint_io import checkpoint_step, newest_checkpoint
from mav_lightning.training.extension import refuse_ended_schedule
from mav_lightning.training.resume import refuse_other_network, saved_run
from mav_lightning.training.run_record import (
    MACHINE,
    RunRecord,
    damaged_artifact,
    read_run,
    refuse_other_run,
    write_run,
)

__all__ = ["COST", "RunFolder"]

COST = "cost.json"


class RunFolder:
    """The folder of one training, with its record and its newest good checkpoint.

    Args:
        out: The folder; it may not exist yet.
        any_machine: Accept that the run was started on another machine or with another number of threads.
        extend: Accept that the run was started with fewer steps.

    Attributes:
        newest: Newest checkpoint that matches its checksum. None without one.

    Raises:
        UserError: If ``run.json`` is damaged and there is no checkpoint from which to restore it.
    """

    def __init__(self, out: Path, any_machine: bool = False, extend: bool = False) -> None:
        self.out, self._any_machine, self._extend = out, any_machine, extend
        self.newest = newest_checkpoint(out / "checkpoints")
        self._record = self._read()

    @property
    def step(self) -> int | None:
        """Optimizer step that training resumes from; None for a new run."""
        return None if self.newest is None else checkpoint_step(self.newest)

    def begin(self, run: Mapping[str, Any], module: LightningModule | None = None) -> bool:
        """Compare a requested run with the one in the folder, and record the request.

        Args:
            run: Identity of the requested run; ``run["fit"]["steps"]`` is its number of optimizer steps, 0 without it.
            module: Module to train. None for a network that is fitted in closed form.

        Returns:
            Whether there is something to do; False if the run is finished.

        Raises:
            UserError: If the folder holds another run, or results without a record.
        """
        self._refuse_unrecorded()
        steps, old = _steps(run), self._record if self.newest or self._is_finished() else None
        if old is not None:
            self._refuse_other(self.out, old.run, run, module)
        if self.newest is not None:
            self._refuse_other(self.newest, saved_run(self.newest), run, module)
            if module is not None:
                refuse_other_network(self.newest, module)
        if old is not None and self._is_complete(old, steps):
            return False
        self._record = _begun(run, steps, old)
        if self._record != old:
            rank_zero_only(write_run)(self.out, self._record)
        return True

    def finish(self) -> None:
        """Record that the run is finished, with the sha256 of its results."""
        assert self._record is not None  # `begin` made it
        names = [name for name in (WEIGHTS, CARD, COST) if (self.out / name).is_file()]
        artifacts = {name: file_sha256(self.out / name) for name in names}
        write_run(self.out, replace(self._record, state="finished", artifacts=artifacts))

    def _read(self) -> RunRecord | None:
        try:
            return read_run(self.out)
        except UserError as error:
            if self.newest is not None:
                rank_zero_warn(f"{error} The record of the newest checkpoint is used.")
                return None
            if (self.out / WEIGHTS).is_file():
                raise UserError(
                    f"{error} There is no checkpoint either from which to identify the run; use another `out`."
                ) from error
            rank_zero_warn(f"{error} There is no checkpoint to resume from, so the training starts from scratch.")
            return None

    def _is_finished(self) -> bool:
        return self._record is not None and self._record.state == "finished"

    def _is_complete(self, record: RunRecord, steps: int) -> bool:
        """Return whether a run is finished and its results are what was written; otherwise they are written again."""
        if record.state != "finished" or record.steps != steps:
            return False
        damaged = damaged_artifact(self.out, record)
        if damaged is None:
            return True
        if self.step is None or self.step < steps:
            raise UserError(
                f"{self.out / damaged}: is missing or damaged, and the last checkpoint, to write it from, is gone; "
                "restore the file, or remove the folder and train again."
            )
        rank_zero_warn(f"{self.out / damaged} is missing or damaged: it is written again from the last checkpoint.")
        return False

    def _refuse_other(
        self, where: Path, was: Mapping[str, Any], now: Mapping[str, Any], module: LightningModule | None
    ) -> None:
        had, has = _steps(was), _steps(now)
        if self._extend and module is not None and 0 < had < has:
            was = {**was, "fit": {**was["fit"], "steps": has}}
            try:
                refuse_other_run(where, was, now, self._any_machine)
            except UserError as error:
                raise UserError(
                    f"cannot continue {had} steps to {has}, because a longer run would differ from its first step "
                    f"on. {error}",
                    argument="extend",
                ) from error
            refuse_ended_schedule(module, had)
        refuse_other_run(where, was, now, self._any_machine)

    def _refuse_unrecorded(self) -> None:
        if self._record is None and self.newest is None and (self.out / WEIGHTS).is_file():
            raise UserError(
                f"{self.out}: holds a trained network and no record of its training, as an earlier version left it or "
                "`mav checkpoint export` wrote it; use another `out`."
            )


def _steps(run: Mapping[str, Any]) -> int:
    steps: int = run.get("fit", {}).get("steps", 0)
    return steps


def _begun(run: Mapping[str, Any], steps: int, old: RunRecord | None) -> RunRecord:
    """Return the record of an unfinished run that continues an old one, if there is one."""
    earlier, machines = ([], []) if old is None else (old.extended_from, old.other_machines)
    if old is not None and old.steps != steps:
        earlier = [*earlier, old.steps]
    if old is not None and old.run.get(MACHINE) != run.get(MACHINE):
        machines = [*machines, dict(old.run.get(MACHINE, {}))]
    return RunRecord(identity_sha256(run), dict(run), "unfinished", steps, {}, earlier, machines)

"""A stage and its folder."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.common.identity import RESULTS
from mav_lightning.common.json_files import write_json
from mav_lightning.common.schema import read_json
from mav_lightning.config.trunk import Kind
from mav_lightning.runs.ids import packages_of, stage_id
from mav_lightning.runs.records import (
    DoneRecord,
    FailureRecord,
    RunTags,
    StageCost,
    StageProgress,
    TimeSpent,
    read_record,
)

__all__ = ["Stage", "StageFolder"]

_ARTIFACTS = {"data": "shards", "pipeline": "pipeline", "sample": "clips"}


@dataclass(frozen=True)
class Stage:
    """One step of a recipe, fully resolved.

    Attributes:
        id: Content id, see `stage_id`.
        name: Name in the recipe; part of the folder's name, never of the id.
        kind: Kind of work: data, train, pipeline, sample or score.
        config: Resolved config as plain containers; needed folders appear as ``@role``.
        needs: Role → id of the needed stage.
        schema: Version of the code's results that `id` was computed with.
        packages: Package of the user's own that `config` names → sha256 of its source when the stage was planned.
    """

    id: str
    name: str
    kind: Kind
    config: dict[str, Any]
    needs: dict[str, str]
    schema: int = RESULTS
    packages: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, config: dict[str, Any], needs: dict[str, str]) -> "Stage":
        """Create a stage and compute its id."""
        packages = packages_of(config)
        return cls(stage_id(config, needs, RESULTS, packages), name, config["kind"], config, needs, RESULTS, packages)


class StageFolder:
    """The files of one stage, ``<root>/stages/<name>-<id>/``.

    The runner writes ``stage.json`` first and ``done.json`` or ``failed.json`` last. At the start of an attempt it
    writes ``uncommitted.patch`` if tracked files differ from the commit. In between, the stage's own process writes its
    artifacts, then ``cost.json`` (`StageCost`), and ``progress.json`` about once a second. A stage without checkpoints
    saves the time it has taken in ``spent.json``, to which the next attempt adds.

    Args:
        path: The folder; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stage_file = path / "stage.json"
        self.done_file = path / "done.json"
        self.failed_file = path / "failed.json"
        self.cost_file = path / "cost.json"
        self.progress_file = path / "progress.json"
        self.spent_file = path / "spent.json"
        self.tags_file = path / "tags.json"
        self.patch_file = path / "uncommitted.patch"
        self.results_file = path / "results.json"
        self.log_file = path / "log.txt"
        self.clips = path / _ARTIFACTS["sample"]

    def create(self, stage: Stage) -> None:
        """Create the folder and write ``stage.json``.

        An existing stage is never replaced by another. Only the location of a user's files may change, until the stage
        is done.

        Raises:
            UserError: If the folder holds another stage. Its config, which a stranger may have written, would run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self.stage_file.exists():
            written = self.read_stage()
            if written.id != stage.id:
                raise UserError(
                    f"{self.stage_file}: describes stage {written.id}, not {stage.id}; it was edited or copied. Remove "
                    "the folder, and the stage runs again."
                )
            if self.done_file.exists() or written == stage:
                return
        write_json(self.stage_file, asdict(stage))

    def read_stage(self) -> Stage:
        """Read ``stage.json``.

        Raises:
            UserError: If the folder is missing or holds no stage.
        """
        if not self.stage_file.exists():
            raise UserError(f"{self.path}: no stage.json here; give a folder that `mav ablate` made.")
        stage: Stage = read_json(self.stage_file, Stage)
        return stage

    @property
    def artifact(self) -> Path:
        """The folder within this one that other stages need: shards, a pipeline, clips, or a trained network."""
        return self.path / _ARTIFACTS.get(self.read_stage().kind, "")

    def needed(self) -> dict[str, Path]:
        """Return role → folder of the needed stage, found among the siblings by id.

        Raises:
            UserError: If a needed stage has no folder.
        """
        return {role: self._sibling(role, needed) for role, needed in self.read_stage().needs.items()}

    def read_done(self) -> DoneRecord | None:
        """Read ``done.json``; return None while the stage is not done."""
        return read_record(self.done_file, DoneRecord)

    def read_failure(self) -> FailureRecord | None:
        """Read ``failed.json``; return None if the last attempt did not fail."""
        return read_record(self.failed_file, FailureRecord)

    def read_cost(self) -> StageCost | None:
        """Read ``cost.json``; return None before the stage has written it."""
        return read_record(self.cost_file, StageCost)

    def read_progress(self) -> StageProgress | None:
        """Read ``progress.json``; return None before the stage has written it."""
        return read_record(self.progress_file, StageProgress)

    def read_spent(self) -> TimeSpent | None:
        """Read ``spent.json``; return None if no earlier attempt has saved its time."""
        return read_record(self.spent_file, TimeSpent)

    def write_progress(self, done: int, total: int, unit: str = "steps") -> None:
        """Write how far the stage is. Call it about once a second, not once a step."""
        write_json(self.progress_file, asdict(StageProgress(done, total, unit)))

    def read_tags(self) -> dict[str, str | int]:
        """Read the tags for experiment trackers; empty if none were written."""
        return (read_record(self.tags_file, RunTags) or RunTags()).tags()

    def last_log_lines(self, count: int = 20) -> list[str]:
        """Return the last lines of ``log.txt`` that are not blank; empty without a log."""
        if not self.log_file.exists():
            return []
        with self.log_file.open("rb") as file:
            file.seek(max(0, self.log_file.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
        return [line for line in text.replace("\r", "\n").splitlines() if line.strip()][-count:]

    def _sibling(self, role: str, needed: str) -> Path:
        found = sorted(self.path.parent.glob(f"*-{needed}"))
        if not found:
            raise UserError(
                f"{self.path}: the stage for `needs.{role}` ({needed}) has no folder in {self.path.parent}; run the "
                "study again to create it."
            )
        return found[0]

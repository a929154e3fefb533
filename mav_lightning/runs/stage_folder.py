"""A stage and its folder."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import read_json, write_json
from mav_lightning.runs.ids import SCHEMA, stage_id

__all__ = ["Stage", "StageFolder"]


@dataclass(frozen=True)
class Stage:
    """One step of a recipe, fully resolved.

    Attributes:
        id: See `stage_id`.
        name: What the recipe calls it; names the folder, never part of the id.
        kind: data, train, pipeline, sample or score.
        config: Resolved, plain containers, free of paths.
        needs: Role → id of the stage that fills it.
        schema: Version of the code's results that `id` was made with.
    """

    id: str
    name: str
    kind: str
    config: dict[str, Any]
    needs: dict[str, str]
    schema: int = SCHEMA

    @classmethod
    def of(cls, name: str, config: dict[str, Any], needs: dict[str, str]) -> "Stage":
        """A stage with its id worked out."""
        return cls(stage_id(config, needs), name, config["kind"], config, needs)


class StageFolder:
    """The files of one stage, ``<root>/stages/<name>-<id>/``.

    The runner writes ``stage.json`` first and ``done.json`` or ``failed.json`` last; and as an attempt starts,
    ``uncommitted.patch`` where tracked files then differ from the commit. The stage's own process writes its artefacts
    between them, then ``cost.json`` ({"steps", "seconds", "parameters", "peak_rss_bytes", "step_seconds"}, any of them
    null; on a CUDA device "peak_cuda_bytes" and "device" too), and ``progress.json`` as often as it likes. With its
    progress, a stage without checkpoints keeps its time in ``spent.json``, which the next attempt goes on counting.

    Args:
        path: The folder, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stage_file = path / "stage.json"
        self.done_file = path / "done.json"
        self.failed_file = path / "failed.json"
        self.cost_file = path / "cost.json"
        self.progress_file = path / "progress.json"
        self.spent_file = path / "spent.json"
        self.patch_file = path / "uncommitted.patch"
        self.results_file = path / "results.json"
        self.log_file = path / "log.txt"
        self.clips = path / "clips"

    def create(self, stage: Stage) -> None:
        """Makes the folder and writes ``stage.json``.

        What a stage is never changes, though where it finds what a user brought may, until it is done.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self.stage_file.exists():
            written = self.read_stage()
            if self.done_file.exists() or written.id != stage.id or written == stage:
                return
        write_json(self.stage_file, asdict(stage))

    def read_stage(self) -> Stage:
        """Reads ``stage.json``.

        Raises:
            UserError: The folder is missing or holds no stage.
        """
        content = read_json(self.stage_file)
        if content is None:
            raise UserError(f"{self.path}: no stage.json here; give a folder that `mav ablate` made.")
        return Stage(**content)

    def needed(self) -> dict[str, Path]:
        """Role → folder of the stage that fills it, found among the siblings by id.

        Raises:
            UserError: A needed stage has no folder.
        """
        return {role: self._sibling(role, needed) for role, needed in self.read_stage().needs.items()}

    def write_progress(self, done: int, total: int, unit: str = "steps") -> None:
        """Tells whoever watches how far the stage is; call it about once a second, not once a step."""
        write_json(self.progress_file, {"done": done, "total": total, "unit": unit})

    def last_log_lines(self, count: int = 20) -> list[str]:
        """The end of ``log.txt``; empty where there is none."""
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
                "study again, it will be made."
            )
        return found[0]

"""How long what is left will take, told from what is done."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from mav_lightning.common.configs import leaves
from mav_lightning.common.json_files import read_json
from mav_lightning.runs.ledger import Ledger, State
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["estimate"]


def estimate(ledger: Ledger, stages: Sequence[Stage]) -> dict[str, float | None]:
    """Seconds that each stage has still to run, by id.

    A stage takes what finished stages in the same folder took that have its name and build the same classes, in the
    median; trainings in proportion to their steps. Where the stage itself has begun, what it has reported is taken off.

    Args:
        ledger: Whose folders are looked at, those of other studies too.
        stages: Of a plan.

    Returns:
        0 for what is done, None where no sibling is.
    """
    seen: dict[tuple[str, ...], list[float]] = {}
    for folder in map(StageFolder, ledger.stages.glob("*-*")):
        if done := read_json(folder.done_file):
            sibling = folder.read_stage()
            seen.setdefault(_kin(sibling), []).append(done["seconds"] / _steps(sibling.config))
    return {stage.id: _left(ledger, stage, seen.get(_kin(stage), [])) for stage in stages}


def _kin(stage: Stage) -> tuple[str, ...]:
    """Equal for stages whose times tell of each other: a recipe's `prior` may be a network or a ridge map."""
    work = leaves({key: stage.config[key] for key in ("module", "task") if key in stage.config})
    return stage.name, stage.kind, *(value for key, value in work if key.endswith("._target_"))


def _left(ledger: Ledger, stage: Stage, seconds: Sequence[float]) -> float | None:
    if ledger.state(stage) is State.DONE:
        return 0.0
    if not seconds:
        return None
    progress = read_json(ledger.folder(stage).progress_file) or {"done": 0, "total": 1}
    return median(seconds) * _steps(stage.config) * (1 - progress["done"] / max(progress["total"], 1))


def _steps(config: Mapping[str, Any]) -> float:
    """What a stage's time is proportional to; 1 where nothing says."""
    return float(config.get("fit", {}).get("steps") or 1)

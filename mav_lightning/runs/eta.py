"""Estimates of the time that stages still need, from stages that are done."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from mav_lightning.common.configs import leaves
from mav_lightning.runs.ledger import Ledger, State
from mav_lightning.runs.records import StageProgress
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["estimate"]


def estimate(ledger: Ledger, stages: Sequence[Stage]) -> dict[str, float | None]:
    """Estimate the seconds that each stage still needs.

    The estimate is the median over finished stages in the same folder that have the same name and build the same
    classes; trainings are scaled by their number of steps. The share that a running stage has reported is subtracted.

    Args:
        ledger: Ledger whose folders are read, including those of other studies.
        stages: Stages of a plan.

    Returns:
        Stage id → seconds; 0 for a finished stage, None without a finished sibling.
    """
    seen: dict[tuple[str, ...], list[float]] = {}
    for folder in map(StageFolder, ledger.stages.glob("*-*")):
        done = folder.read_done()
        if done is not None and done.seconds is not None:
            sibling = folder.read_stage()
            seen.setdefault(_siblings(sibling), []).append(done.seconds / _steps(sibling.config))
    return {stage.id: _left(ledger, stage, seen.get(_siblings(stage), [])) for stage in stages}


def _siblings(stage: Stage) -> tuple[str, ...]:
    """Return a key that is equal for stages of comparable duration: a `prior` may be a network or a ridge map."""
    work = leaves({key: stage.config[key] for key in ("module", "task") if key in stage.config})
    return stage.name, stage.kind, *(value for key, value in work if key.endswith("._target_"))


def _left(ledger: Ledger, stage: Stage, seconds: Sequence[float]) -> float | None:
    if ledger.state(stage) is State.DONE:
        return 0.0
    if not seconds:
        return None
    progress = ledger.folder(stage).read_progress() or StageProgress(0, 1)
    return median(seconds) * _steps(stage.config) * (1 - progress.done / max(progress.total, 1))


def _steps(config: Mapping[str, Any]) -> float:
    """Return the number of steps that a stage's duration is proportional to; 1 for stages without steps."""
    return float(config.get("fit", {}).get("steps") or 1)

"""Check of the score stages of a plan, so that nothing trains for hours and then fails at scoring."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mav_lightning.common.errors import Refusals, UserError
from mav_lightning.common.planned_clips import PlannedClips
from mav_lightning.common.task import Task
from mav_lightning.config import instantiate
from mav_lightning.runs.stage_folder import Stage

__all__ = ["check_scores", "scored_clips"]


def check_scores(where: str, systems: Mapping[str, Mapping[str, Stage]]) -> None:
    """Check whether the clips that will be sampled can be scored: frames, frame rates, numbers of clips and weights.

    Args:
        where: Start of messages, for example the study.
        systems: Name of each system, for example the variant, and its stages by name. What several of them share is
            checked and named once.

    Raises:
        UserError: Names everything that will fail.
    """
    found: dict[str, list[str]] = {}  # message → systems
    seen: dict[tuple[str, ...], list[UserError]] = {}
    for system, stages in systems.items():
        for score in stages.values():
            if score.kind == "score" and "metrics" in (score.config.get("protocol") or {}):
                for error in _problems(score, stages, seen):
                    found.setdefault(str(error), []).append(system)
    refusals = Refusals()
    for message, concerned in found.items():
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(concerned))
        some = len(set(concerned)) < len(systems)
        refusals.add(UserError(f"{where}, {names}: {message}" if some else f"{where}: {message}"))
    refusals.raise_any("reasons why the clips could not be scored")


def scored_clips(score: Stage, stages: Mapping[str, Stage]) -> PlannedClips | None:
    """Return the clips that a score stage will measure; None if that is not known before they are sampled.

    Args:
        score: The score stage.
        stages: All stages, by name.

    Raises:
        UserError: If the task that samples them rejects its arguments.
    """
    by_id = {stage.id: stage for stage in stages.values()}
    sample = by_id.get(score.needs.get("generated", ""))
    node = sample.config.get("task") if sample else None
    if node is None:
        return None
    task = instantiate(node)
    clips = task.planned_clips() if isinstance(task, Task) else None
    if sample and clips and clips.setting:
        return replace(clips, setting=f"{sample.name}.{clips.setting}")
    return clips


def _problems(
    score: Stage, stages: Mapping[str, Stage], seen: dict[tuple[str, ...], list[UserError]]
) -> list[UserError]:
    from evaluation.preflight import check_planned, load_extractors  # here, since they import torch
    from evaluation.protocol import protocol_of_stage
    from evaluation.weight_files import weights_folder

    protocol = protocol_of_stage(score.config["protocol"])
    try:
        clips = scored_clips(score, stages)
    except UserError as error:
        return [error]
    real = _existing_folder(score, stages)
    key = (protocol.name, protocol.hash, repr(clips), str(real))
    if key not in seen:
        refusals = Refusals()
        if clips is None:
            with refusals.collect():
                load_extractors(protocol, weights_folder())
        else:
            refusals = check_planned(protocol, clips, weights_folder(), real)
        seen[key] = refusals.errors
    return seen[key]


def _existing_folder(score: Stage, stages: Mapping[str, Stage]) -> Path | None:
    """Return the folder of the real clips, if the user provides it; None if a stage will write it."""
    needed = score.needs.get("real")
    data = next((stage for stage in stages.values() if stage.id == needed), None)
    root = (data.config.get("task") or {}).get("root") if data else None
    return Path(root) if isinstance(root, str) and Path(root).is_dir() else None

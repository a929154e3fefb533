"""Differences between the variants, read from their resolved configs rather than from the study's deltas."""

from collections.abc import Mapping
from typing import Any

from mav_lightning.ablation.study_plan import Plan, Trial
from mav_lightning.common.identity import is_harmless, with_added

__all__ = ["config_differences", "settings"]


def config_differences(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """Return the differences of every variant from the baseline, at the first seed.

    Returns:
        Variant → differences, each ``{"key", "baseline", "value"}``. A stage that only one of the two systems has is
        one difference, with the stage's name as the key.
    """
    seed = plan.study.seeds[0]
    baseline = settings(plan.trial(plan.study.baseline, seed))
    return {name: _differences(baseline, settings(plan.trial(name, seed))) for name in plan.study.order[1:]}


def settings(trial: Trial) -> dict[str, dict[str, Any]]:
    """Return all settings of a trial that can change its results: stage → dotted key → value.

    A stage's needs are given by name, since the id of a stage changes with everything it needs. A stage of an earlier
    version has the arguments that were added since, at the value that it was computed with.
    """
    names = {stage.id: name for name, stage in trial.stages.items()}
    return {
        name: {
            **_flatten(with_added(stage.config)),
            **{f"needs.{role}": names[needed] for role, needed in stage.needs.items()},
        }
        for name, stage in trial.stages.items()
    }


def _differences(baseline: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for stage in baseline | other:
        if stage not in baseline or stage not in other:
            sides = [("not needed", "part of the system")[stage in side] for side in (baseline, other)]
            found.append({"key": stage, "baseline": sides[0], "value": sides[1]})
            continue
        for key in baseline[stage] | other[stage]:
            before, after = (side[stage].get(key) for side in (baseline, other))
            if before != after:
                found.append({"key": f"{stage}.{key}", "baseline": before, "value": after})
    return found


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if not is_harmless(path, value):
            flat |= _flatten(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return flat

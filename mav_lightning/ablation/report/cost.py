"""What the quality cost: steps, operations, time, parameters and memory, by stage and by variant."""

from typing import Any

from mav_lightning.ablation.budget import training_flops
from mav_lightning.ablation.results import StudyResults, TrialResult

__all__ = ["stage_costs", "total_seconds", "variant_costs"]

_PEAKS = ("peak_rss_bytes", "peak_cuda_bytes")
_NUMBERS = ("steps", "flops", "seconds", "step_seconds", "parameters", *_PEAKS)


def stage_costs(results: StudyResults) -> list[dict[str, Any]]:
    """One row for each stage name and the variants that share it, averaged over seeds."""
    users: dict[str, list[str]] = {}
    for trial in results.plan.trials:
        for stage in trial.stages.values():
            users.setdefault(stage.id, []).append(trial.variant)
    records: dict[tuple[str, tuple[str, ...]], dict[str, dict[str, Any]]] = {}
    for result in results.trials:
        for name, done in result.done.items():
            stage = result.trial.stages[name]
            key = (name, tuple(dict.fromkeys(users[stage.id])))
            flops = training_flops(stage.config) if stage.kind == "train" else None
            records.setdefault(key, {})[stage.id] = done | {"flops": flops}
    return [
        {"stage": name, "variants": list(variants), "runs": len(runs), **_means(list(runs.values()))}
        for (name, variants), runs in records.items()
    ]


def variant_costs(results: StudyResults) -> list[dict[str, Any]]:
    """One row a variant, averaged over its complete trials; a shared stage counts in full in each that needs it."""
    rows = []
    for name in results.plan.study.order:
        trials = [_trial_cost(result) for result in results.of(name).values() if result.complete]
        rows.append({"variant": name, "runs": len(trials), **_means(trials)})
    return rows


def total_seconds(result: TrialResult) -> float:
    """Of all stages a trial is made of."""
    return sum(done["seconds"] for done in result.done.values())


def _trial_cost(result: TrialResult) -> dict[str, Any]:
    """Steps, operations and seconds in all, slowest step, highest memory, and parameters of what sampling needs."""
    counted = [training_flops(stage.config) for stage in result.trial.stages.values() if stage.kind == "train"]
    done = {name: result.done.get(name, {}) for name in result.trial.stages}  # of a training whose folder is gone: {}
    trained = [done[name] for name, stage in result.trial.stages.items() if stage.kind == "train"]
    steps = [one["step_seconds"] for one in trained if "step_seconds" in one]
    needed = result.trial.sample.needs.values()
    networks = [done[name] for name, stage in result.trial.stages.items() if stage.id in needed]
    known = [done["parameters"] for done in networks if "parameters" in done]
    return {
        "steps": sum(done.get("steps", 0) for done in trained),
        "flops": sum(flops for flops in counted if flops) or None,
        "seconds": total_seconds(result),
        "step_seconds": max(steps, default=None),
        "parameters": sum(known) if known else None,
        **{key: max((one[key] for one in result.done.values() if key in one), default=None) for key in _PEAKS},
    }


def _means(records: list[dict[str, Any]]) -> dict[str, float | None]:
    def mean(key: str) -> float | None:
        known = [record[key] for record in records if record.get(key) is not None]
        return sum(known) / len(known) if known else None

    return {key: mean(key) for key in _NUMBERS}

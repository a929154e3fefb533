"""Training cost per stage and per variant: steps, operations, time, parameters and memory."""

from typing import Any

from mav_lightning.ablation.budget import training_flops
from mav_lightning.ablation.results import StudyResults, TrialResult, mean_of_known
from mav_lightning.common.errors import UserError
from mav_lightning.runs.stage_folder import Stage

__all__ = ["stage_costs", "total_seconds", "variant_costs"]

_PEAKS = ("peak_rss_bytes", "peak_cuda_bytes")
_NUMBERS = ("steps", "flops", "seconds", "step_seconds", "parameters", *_PEAKS)


def stage_costs(results: StudyResults) -> list[dict[str, Any]]:
    """Return one row per stage name and group of variants that share the stage, averaged over seeds.

    Args:
        results: Results of the study.
    """
    users: dict[str, list[str]] = {}
    for trial in results.plan.trials:
        for stage in trial.stages.values():
            users.setdefault(stage.id, []).append(trial.variant)
    records: dict[tuple[str, tuple[str, ...]], dict[str, dict[str, Any]]] = {}
    for result in results.trials:
        for name, done in result.done.items():
            stage = result.trial.stages[name]
            key = (name, tuple(dict.fromkeys(users[stage.id])))
            records.setdefault(key, {})[stage.id] = done | {"flops": _flops(results, stage) or None}
    return [
        {"stage": name, "variants": list(variants), "runs": len(runs), **_means(list(runs.values()))}
        for (name, variants), runs in records.items()
    ]


def variant_costs(results: StudyResults) -> list[dict[str, Any]]:
    """Return one row per variant, averaged over its complete trials.

    A shared stage counts in full in every trial that needs it.

    Args:
        results: Results of the study.
    """
    rows = []
    for name in results.plan.study.order:
        trials = [_trial_cost(results, result) for result in results.of(name).values() if result.complete]
        rows.append({"variant": name, "runs": len(trials), **_means(trials)})
    return rows


def total_seconds(result: TrialResult) -> float:
    """Return the total run time of a trial's finished stages, in seconds."""
    return float(sum(done["seconds"] for done in result.done.values()))


def _flops(results: StudyResults, stage: Stage) -> int | None:
    """Return the operations of a stage's training; 0 if it trains no denoiser, None if they cannot be counted."""
    folder = results.folder(stage)
    try:
        return training_flops(stage.config, folder.needed() if folder.stage_file.exists() else {})
    except UserError:  # a needed folder is gone
        return None


def _trial_cost(results: StudyResults, result: TrialResult) -> dict[str, Any]:
    """Return total steps, operations and seconds, slowest step, peak memory, and parameters of the sampled networks."""
    counted = [_flops(results, stage) for stage in result.trial.stages.values()]
    done = {name: result.done.get(name, {}) for name in result.trial.stages}  # {} if the folder is gone
    trained = [done[name] for name, stage in result.trial.stages.items() if stage.kind == "train"]
    steps = [one["step_seconds"] for one in trained if "step_seconds" in one]
    needed = result.trial.sample.needs.values()
    networks = [done[name] for name, stage in result.trial.stages.items() if stage.id in needed]
    sizes = [one.get("parameters") for one in networks]
    return {
        "steps": sum(done.get("steps", 0) for done in trained),
        "flops": None if None in counted else sum(flops or 0 for flops in counted) or None,
        "seconds": total_seconds(result),
        "step_seconds": max(steps, default=None),
        "parameters": None if None in sizes else sum(size or 0 for size in sizes) or None,
        **{key: max((one[key] for one in result.done.values() if key in one), default=None) for key in _PEAKS},
    }


def _means(records: list[dict[str, Any]]) -> dict[str, float | None]:
    return {key: mean_of_known(record.get(key) for record in records) for key in _NUMBERS}

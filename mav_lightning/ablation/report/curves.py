"""Learning curves of the trainings in which variants differ, read from their TensorBoard logs."""

from pathlib import Path

import numpy as np

from mav_lightning.ablation.results import StudyResults
from mav_lightning.common.log_names import board_run, loss_name
from mav_lightning.runs.ledger import State

__all__ = ["Curve", "learning_curves"]

Curve = tuple[list[int], list[float]]
"""Optimizer steps, and the mean loss up to each."""

_POINTS = 40  # points of a curve, each the mean over a stretch of steps, as the loss of a single step is noise


def learning_curves(results: StudyResults) -> dict[str, dict[tuple[str, ...], dict[int, Curve]]]:
    """Return the training loss of all stages that differ between variants.

    Running, failed and diverged stages are included as far as they have come.

    Args:
        results: Results of the study.

    Returns:
        Stage name → variants that share the stage → seed → curve.
    """
    curves: dict[str, dict[tuple[str, ...], dict[int, Curve]]] = {}
    for result in results.trials:
        trial = result.trial
        for name, stage in trial.stages.items():
            if stage.kind != "train" or results.plan.shared(trial, name) or result.states[name] is State.PENDING:
                continue
            users = tuple(dict.fromkeys(t.variant for t in results.plan.trials if t.stages.get(name) == stage))
            if trial.variant == users[0] and (curve := _curve(results.folder(stage).path)):
                curves.setdefault(name, {}).setdefault(users, {})[trial.seed] = curve
    return curves


def _curve(training: Path) -> Curve | None:
    logs, name = board_run(training), loss_name("train")
    if logs is None:
        return None
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(logs), size_guidance={"scalars": 0})
    try:
        events.Reload()
    except OSError:  # a folder in place of a file, or one that may not be read: the report goes without the curve
        return None
    if name not in events.Tags()["scalars"]:
        return None
    scalars = events.Scalars(name)
    parts = np.array_split(np.array([(one.step, one.value) for one in scalars]), min(_POINTS, len(scalars)))
    return [int(part[-1, 0]) for part in parts], [float(part[:, 1].mean()) for part in parts]

"""How the trainings went that set variants apart, read from their TensorBoard logs."""

from pathlib import Path

import numpy as np

from mav_lightning.ablation.results import StudyResults
from mav_lightning.runs.ledger import State

__all__ = ["Curve", "learning_curves"]

Curve = tuple[list[int], list[float]]
"""Steps, and the loss there."""

_POINTS = 40  # a loss of single steps is noise; this many means of it are a curve


def learning_curves(results: StudyResults) -> dict[str, dict[tuple[str, ...], dict[int, Curve]]]:
    """Stage → the variants that share it → seed → training loss, of the stages that not all variants share.

    A stage that is still running, failed or diverged shows how far it came.
    """
    curves: dict[str, dict[tuple[str, ...], dict[int, Curve]]] = {}
    for result in results.trials:
        trial = result.trial
        for name, stage in trial.stages.items():
            if stage.kind != "train" or results.plan.shared(trial, name) or result.states[name] is State.PENDING:
                continue
            users = tuple(dict.fromkeys(t.variant for t in results.plan.trials if t.stages.get(name) == stage))
            if trial.variant == users[0] and (curve := _curve(results.folder(stage).path / "tensorboard")):
                curves.setdefault(name, {}).setdefault(users, {})[trial.seed] = curve
    return curves


def _curve(logs: Path) -> Curve | None:
    if not logs.is_dir():
        return None
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(logs), size_guidance={"scalars": 0})
    events.Reload()
    if "train/loss" not in events.Tags()["scalars"]:
        return None
    scalars = events.Scalars("train/loss")
    parts = np.array_split(np.array([(one.step, one.value) for one in scalars]), min(_POINTS, len(scalars)))
    return [int(part[-1, 0]) for part in parts], [float(part[:, 1].mean()) for part in parts]

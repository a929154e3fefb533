"""Extension of a training to more steps, where its learning-rate schedule allows it."""

from collections.abc import Iterator
from typing import Any

from lightning.pytorch import LightningModule
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR, PolynomialLR

from mav_lightning.common.errors import UserError
from mav_lightning.training.description import configured

__all__ = ["refuse_ended_schedule"]

_HORIZONS: dict[type[LRScheduler], str] = {
    OneCycleLR: "total_steps",
    CosineAnnealingLR: "T_max",
    PolynomialLR: "total_iters",
}


def refuse_ended_schedule(module: LightningModule, steps: int) -> str:
    """Reject the extension of a run whose learning-rate schedule was laid out for its number of steps.

    Args:
        module: Module of the run.
        steps: Number of optimizer steps before the extension.

    Returns:
        Names of the schedules that continue, for messages.

    Raises:
        UserError: If a schedule ends at `steps`.
    """
    names = []
    for schedule in configured(module, LRScheduler):
        for name, end in _parts(schedule):
            names.append(name)
            if end == steps:
                raise UserError(
                    f"the schedule {name} ends at step {end}, as the run does: a longer run has other learning rates "
                    "from its first steps on, so this one cannot be extended. Train from scratch in another `out`.",
                    argument="extend",
                )
    return ", ".join(names) or "a constant learning rate"


def _parts(schedule: Any) -> Iterator[tuple[str, int | None]]:
    """Yield the name of each part of a schedule and the step at which it ends; None if it does not end."""
    for part in getattr(schedule, "_schedulers", ()):  # SequentialLR, ChainedScheduler
        yield from _parts(part)
    for function in schedule.lr_lambdas if isinstance(schedule, LambdaLR) else ():
        yield getattr(function, "__qualname__", type(function).__name__), getattr(function, "horizon", None)
    for kind, attribute in _HORIZONS.items():
        if isinstance(schedule, kind):
            yield kind.__name__, getattr(schedule, attribute)

"""Curves of a training: means over the whole batch of a step, written before the step's checkpoint."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.data import extract_batch_size
from torch import Tensor

from mav_lightning.training.logger_media import log_scalars
from mav_lightning.training.step_callback import StepCallback

__all__ = ["MetricLog", "gather"]

_ARGUMENTS = inspect.signature(LightningModule.log)


class MetricLog(StepCallback):
    """Write what is logged with ``module.log`` as means over all samples of an optimizer step, over all processes.

    Lightning writes the value of the last accumulated batch on the first process, and after the checkpoint of the step,
    so that a killed run has holes in its curves. Here the point of a step is on disk before its checkpoint, and points
    of later steps follow it. Steps are counted from 0, as Lightning's loggers do. Means over a validation are weighted
    by exact numbers of samples; Lightning rounds them on several processes. Progress bars and callbacks receive the
    values as usual. What is logged when a batch has ended comes after the step's point; Lightning writes it.

    Args:
        every: Optimizer steps between two points of the training curves.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._sums: dict[str, list[Any]] = defaultdict(lambda: [0.0, 0.0])
        self._batch: Any = None

    @contextmanager
    def attached(self, module: LightningModule) -> Iterator[None]:
        """Receive what `module` logs within the block."""
        log = module.log

        def received(*args: Any, **kwargs: Any) -> None:
            self._receive(module, log, _ARGUMENTS.bind(module, *args, **kwargs).arguments)

        module.log = received  # type: ignore[method-assign]
        try:
            yield
        finally:
            del module.log

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the batch, whose size is needed."""
        self._batch = batch

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Place the points of a validation at its optimizer step, also when it is repeated on resuming."""
        self._batch = None
        if not trainer.sanity_checking:
            log = type(pl_module).log
            log(pl_module, "step", float(trainer.global_step - 1), batch_size=1, add_dataloader_idx=False)

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the step's means."""
        sums, self._sums = self._sums, defaultdict(lambda: [0.0, 0.0])
        if not (self.every and self.completes(self.every)):
            return
        mine = {name: (float(total), float(count)) for name, (total, count) in sums.items()}
        totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for part in gather(trainer, mine):
            for name, (total, count) in part.items():
                totals[name][0] += total
                totals[name][1] += count
        means = {name: total / count for name, (total, count) in totals.items()}
        log_scalars(trainer.loggers, means, trainer.global_step - 1)

    def _receive(self, module: LightningModule, log: Callable[..., None], given: dict[str, Any]) -> None:
        """Take a value of a training step; pass everything on to Lightning."""
        arguments = {name: value for name, value in given.items() if name != "self"}
        trainer, value = module.trainer, arguments["value"]
        # metrics of torchmetrics and reductions other than the mean are Lightning's
        mean = isinstance(value, int | float | Tensor) and arguments.get("reduce_fx", "mean") in ("mean", torch.mean)
        if mean and trainer.validating and not arguments.get("rank_zero_only"):
            size = arguments.get("batch_size") or (extract_batch_size(self._batch) if self._batch is not None else 1)
            arguments |= {"batch_size": float(size), "sync_dist": True}
        elif mean and trainer.training and _is_of_a_step(module, arguments):
            due = self._may_be_due(trainer.global_step + 1, module)
            if due and arguments.get("logger") is not False:
                self._add(arguments["name"], value, arguments.get("batch_size") or 1)
            arguments["logger"] = False
        log(**arguments)

    def _may_be_due(self, step: int, module: LightningModule) -> bool:
        return self.every > 0 and (step % self.every == 0 or not module.automatic_optimization)

    def _add(self, name: str, value: Any, size: int) -> None:
        sums = self._sums[name]
        sums[0] = sums[0] + (value.detach() if isinstance(value, Tensor) else value) * size
        sums[1] += size


def gather(trainer: Trainer, value: Any) -> list[Any]:
    """Return a plain value of every process, in the order of their ranks."""
    if trainer.world_size == 1:
        return [value]
    found: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(found, value)
    return found


def _is_of_a_step(module: LightningModule, arguments: dict[str, Any]) -> bool:
    """Return whether a value describes a training step that has not ended, and not a pass over the data."""
    hook = module._current_fx_name or ""
    within = "epoch" not in hook and hook != "on_train_batch_end"
    return within and not arguments.get("on_epoch") and arguments.get("on_step") is not False

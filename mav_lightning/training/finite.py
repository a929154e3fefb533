"""Guard of the weights against non-finite losses and gradients."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import write_json
from mav_lightning.common.log_names import GRADIENT_NORM
from mav_lightning.common.sharding import whole
from mav_lightning.training.metric_log import gather

__all__ = ["NONFINITE", "RECORDS", "FiniteGuard", "StepRecorder", "batch_record", "sample_keys", "unscaled"]

KEYS_SHOWN = 8
NONFINITE = "nonfinite.json"  # in the folder of a run
RECORDS = 100


class StepRecorder(Callback):
    """Base of callbacks that judge an optimizer step by its losses, and name the samples it was computed from."""

    def __init__(self) -> None:
        self._batches: list[list[str]] = []
        self._losses: list[Tensor] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Record the samples of the next gradient."""
        self._batches.append(sample_keys(batch, batch_idx))

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Record the loss; it stays on the device. Lightning has divided it by the number of batches."""
        self._losses.append(unscaled(trainer, loss))

    def taken(self) -> tuple[list[list[str]], list[Tensor]]:
        """Return the samples and losses of the accumulated batches, and forget them."""
        batches, self._batches, losses, self._losses = self._batches, [], self._losses, []
        return batches, losses


class FiniteGuard(StepRecorder):
    """Skip optimizer steps whose loss or gradient norm is not finite, and stop after too many in a row.

    A skipped step leaves weights and moments unchanged: without gradients, torch's optimizers do nothing. It counts as
    a step of the budget and of the schedule. All ranks take the same decision. It costs one synchronization with the
    device per step.

    Args:
        patience: Number of consecutive steps that may be skipped; the next one stops the run.
        record: File for what reproduces the skipped steps: their numbers, and the samples, losses and gradient norm of
            each process; JSON, the last `RECORDS` of them. None for no file.
    """

    def __init__(self, patience: int = 10, record: Path | None = None) -> None:
        super().__init__()
        self.patience, self.record = patience, record
        self.skipped = 0
        self._in_a_row: list[str] = []
        self._records: list[dict[str, Any]] = []

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Record the loss.

        Raises:
            UserError: If it is not a single number, or no weight has a gradient of it.
        """
        if loss.numel() != 1 or not loss.requires_grad:
            shape = f"has shape {tuple(loss.shape)}; return its mean"
            found = shape if loss.numel() != 1 else "depends on no trained weight; return it before `detach` or `item`"
            raise UserError(f"{type(pl_module).__name__}.training_step: the loss {found}.")
        super().on_before_backward(trainer, pl_module, loss)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Drop the gradients of a non-finite step; otherwise log the gradient norm if this step is logged.

        Raises:
            UserError: If more than `patience` consecutive steps were not finite; the message names the batches.
        """
        weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None]
        norm = whole(get_total_norm([weight.grad for weight in weights]))
        finite = norm.isfinite()
        batches, losses = self.taken()
        for loss in losses:
            finite = finite & loss.isfinite().all()
        if trainer.strategy.reduce_boolean_decision(bool(finite)):
            self._in_a_row.clear()
            every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
            if every and (trainer.global_step + 1) % every == 0:  # logging takes half a millisecond
                pl_module.log(GRADIENT_NORM, norm)
            return
        for weight in weights:
            weight.grad = None
        self.skipped += 1
        self._in_a_row.append(f"step {trainer.global_step}: {' + '.join(map(_shortened, batches))}")
        self._write_record(trainer, batches, losses, norm)
        rank_zero_warn(f"Loss or gradient is not finite, the optimizer step is skipped: {self._in_a_row[-1]}")
        if len(self._in_a_row) > self.patience:
            raise UserError(
                f"Loss or gradient was not finite in {counted(len(self._in_a_row), 'step')} in a row; the weights are "
                "those of the last good step. Lower the learning rate, set trainer.gradient_clip_val=1.0, or look at "
                "these samples:\n  " + "\n  ".join(self._in_a_row)
            )

    def _write_record(self, trainer: Trainer, batches: list[list[str]], losses: list[Tensor], norm: Tensor) -> None:
        ranks = gather(trainer, batch_record(batches, losses))
        record = {"step": trainer.global_step, "gradient_norm": repr(float(norm)), "ranks": ranks}
        self._records = [*self._records, record][-RECORDS:]
        if self.record is not None and trainer.is_global_zero:
            write_json(self.record, self._records)

    def state_dict(self) -> dict[str, Any]:
        """Return the counts and records for the checkpoint, so that a restart neither resets nor doubles them."""
        return {"skipped": self.skipped, "in_a_row": list(self._in_a_row), "records": list(self._records)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts and records."""
        self.skipped, self._in_a_row = state_dict["skipped"], list(state_dict["in_a_row"])
        self._records = list(state_dict["records"])


def unscaled(trainer: Trainer, loss: Tensor) -> Tensor:
    """Return a loss that `on_before_backward` got, without the scale that precision 16-mixed has multiplied it by."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return loss.detach() if scaler is None else loss.detach() / scaler.get_scale()


def batch_record(batches: list[list[str]], losses: list[Tensor]) -> dict[str, Any]:
    """Return what the record of a step holds for a process, as plain data.

    Args:
        batches: Keys of the samples of each accumulated batch.
        losses: Loss of each; recorded as text that holds all digits, NaN and infinity.
    """
    return {"samples": batches, "losses": [repr(float(loss.mean())) for loss in losses]}


def sample_keys(batch: Any, batch_idx: int) -> list[str]:
    """Return the keys of a batch's samples, from its attribute or entry ``key``, or its number in the epoch."""
    keys = batch.get("key") if isinstance(batch, Mapping) else getattr(batch, "key", None)
    if keys is None or isinstance(keys, torch.Tensor):
        return [f"batch {batch_idx} of the epoch"]
    return list(map(str, keys))


def _shortened(keys: list[str]) -> str:
    more = f" and {len(keys) - KEYS_SHOWN} more" if len(keys) > KEYS_SHOWN else ""
    return ", ".join(keys[:KEYS_SHOWN]) + more

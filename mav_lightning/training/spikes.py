"""Record of the steps whose loss is far above the usual one, with the samples that they were computed from."""

from collections import deque
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.optim import Optimizer

from mav_lightning.common.json_files import write_json
from mav_lightning.training.finite import RECORDS, StepRecorder, batch_record
from mav_lightning.training.metric_log import gather

__all__ = ["SPIKES", "SpikeRecord"]

SPIKES = "spikes.json"  # in the folder of a run
RATIO = 5.0  # times the median
WINDOW = 101  # steps that the median is over
FEWEST = 25  # losses below which there is no median


class SpikeRecord(StepRecorder):
    """Record optimizer steps whose loss exceeds `RATIO` times the running median; training is not changed.

    The loss of a step is the mean over its accumulated batches and all processes. Losses that are not finite are those
    of `FiniteGuard`.

    Args:
        record: File for the steps, their losses, the median, and the samples and losses of each process; JSON, the last
            `RECORDS` of them. None for no file.
    """

    def __init__(self, record: Path | None = None) -> None:
        super().__init__()
        self.record = record
        self._usual: deque[float] = deque(maxlen=WINDOW)
        self._records: list[dict[str, Any]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Compare the step's loss with the median of the steps before it."""
        batches, losses = self.taken()
        if not losses:
            return
        own = torch.stack([one.mean() for one in losses]).sum().float()
        loss = float(trainer.strategy.reduce(own, reduce_op="mean"))
        if loss - loss != 0:  # not finite
            return
        usual = median(self._usual) if len(self._usual) >= FEWEST else None
        self._usual.append(loss)
        if usual is None or loss <= RATIO * usual or usual <= 0:
            return
        ranks = gather(trainer, batch_record(batches, losses))
        spike = {"step": trainer.global_step, "loss": loss, "median": usual, "ranks": ranks}
        self._records = [*self._records, spike][-RECORDS:]
        if self.record is not None and trainer.is_global_zero:
            write_json(self.record, self._records)

    def state_dict(self) -> dict[str, Any]:
        """Return the losses and records for the checkpoint, so that a restart neither loses nor doubles them."""
        return {"usual": list(self._usual), "records": list(self._records)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the losses and records."""
        self._usual = deque(state_dict["usual"], maxlen=WINDOW)
        self._records = list(state_dict["records"])

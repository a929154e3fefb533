"""Seconds that a training spends in each part of Lightning's loop."""

import time
from collections import defaultdict
from collections.abc import Callable

import torch
from lightning.pytorch.profilers import Profiler

__all__ = ["DATA_WAIT", "FORWARD", "LoopClock"]

DATA_WAIT, FORWARD = "waiting for data", "forward and loss"
_PARTS = {
    "train_dataloader_next": DATA_WAIT,
    "batch_to_device": "copying the batch to the device",
    "training_step": FORWARD,
    "backward": "backward",
    "optimizer_step": "optimizer",
    "optimizer_zero_grad": "optimizer",
    "val_next": "validation",
    "validation_step": "validation",
    "save_checkpoint": "checkpoints",
}
_CALLBACKS, _LOOP = "callbacks: EMA, checks and curves", "Lightning's loop"


class LoopClock(Profiler):
    """Sum the seconds that each part of the loop takes by itself, without the parts that it calls.

    Args:
        synchronize: Wait for the device at every boundary, so that a part includes the kernels that it launches. This
            slows training on a GPU.
        now: Returns the time in seconds.
    """

    def __init__(self, synchronize: bool = False, now: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()
        self.synchronize, self._now = synchronize, now
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = now()

    @property
    def part(self) -> str | None:
        """The part of the loop that runs. None outside a training."""
        return self._running[-1] if self._running else None

    def start(self, action_name: str) -> None:
        """Stop the clock of the part that runs, and start that of another."""
        self._charge()
        self._running.append(_part(action_name))

    def stop(self, action_name: str) -> None:
        """Stop the clock of the part that runs, and continue that of the one that called it."""
        self._charge()
        if self._running:  # an exception can leave parts without their end
            self._running.pop()

    def restart(self) -> None:
        """Set all sums to zero."""
        self._charge()
        self.seconds.clear()

    def teardown(self, stage: str | None) -> None:
        """Forget the parts that an exception has ended."""
        super().teardown(stage)
        self._running.clear()

    def _charge(self) -> None:
        if self.synchronize and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        now = self._now()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


def _part(action: str) -> str:
    """Return the part of the loop that one of Lightning's actions belongs to."""
    if action.startswith("[Callback]"):
        return _CALLBACKS
    return _PARTS.get(action.rpartition(".")[2], _LOOP)

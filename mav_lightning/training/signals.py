"""Stop signals: SIGTERM from a scheduler, Ctrl-C from a user."""

import signal
import threading
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Trainer

__all__ = ["StopSignals"]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Handlers that turn SIGTERM, and the first Ctrl-C, into a flag that training reads between two steps.

    Lightning's own handler communicates with the other ranks, which can deadlock, and exits with code 0 and no
    checkpoint; these handlers replace it while training runs. A second Ctrl-C interrupts at once.
    """

    def __init__(self) -> None:
        self._received = 0
        self._previous: dict[int, Any] = {}

    def install(self) -> None:
        """Install the handlers, once. Python allows this in the main thread only; elsewhere nothing changes."""
        if not self._previous and threading.current_thread() is threading.main_thread():
            self._previous = {signum: signal.signal(signum, self._note) for signum in STOP_SIGNALS}

    def restore(self) -> None:
        """Restore the previous handlers."""
        for signum, handler in self._previous.items():
            if signal.getsignal(signum) == self._note:
                signal.signal(signum, handler)
        self._previous.clear()

    def received(self, trainer: Trainer) -> int:
        """Return the number of the signal that any rank has received, the same on all ranks; 0 for none."""
        mine = torch.tensor(self._received, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(mine, reduce_op="max"))

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._received = signum
        if signum == signal.SIGINT:
            signal.signal(signum, self._previous[signum])

"""Stop signals: from a scheduler, a user or a closed terminal; they end a training also where it hangs."""

import os
import select
import signal
import sys
import threading
import time
from multiprocessing import active_children
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Trainer

from mav_lightning.common.stop_signals import STOP_SIGNALS, catchable

__all__ = ["StopSignals", "end_process"]

GRACE = 20.0  # seconds without progress after a signal; SLURM kills 30 s after its SIGTERM
SAVING = 600.0  # seconds that a checkpoint may take to be written


class StopSignals:
    """Handlers that turn stop signals into a flag that training reads between two steps.

    Lightning's own handlers communicate with the other ranks, which can deadlock, and exit with code 0 and no
    checkpoint; these replace them while training runs. Python runs handlers between two instructions, so never while a
    collective operation waits for a lost rank. Therefore a thread receives the signals, too: it ends the process with
    128 + number if no batch ends for `GRACE` seconds after the first one, or three times the longest batch so far, and
    at once on a second Ctrl-C.
    """

    def __init__(self) -> None:
        self._received = 0
        self._previous: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._moved, self._longest, self._saving = 0.0, 0.0, False
        self._trainer: Trainer | None = None

    def install(self, trainer: Trainer | None = None) -> None:
        """Install the handlers, once. Python allows this in the main thread only; elsewhere nothing changes.

        Args:
            trainer: The Trainer, whose other ranks end with this process. None for none.
        """
        self._trainer = trainer
        if self._previous or threading.current_thread() is not threading.main_thread():
            return
        self._moved = time.monotonic()
        self._previous = {number: signal.signal(number, self._note) for number in catchable()}
        self._pipe = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        threading.Thread(target=self._observe, args=(self._pipe[0],), daemon=True, name="stop signals").start()

    def restore(self) -> None:
        """Restore the previous handlers."""
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)
        self._previous.clear()
        if self._pipe is not None:
            signal.set_wakeup_fd(-1)
            os.close(self._pipe[1])  # ends the thread
            self._pipe = None

    def received(self, trainer: Trainer) -> int:
        """Return the number of the signal that any rank has received, the same on all ranks; 0 for none."""
        mine = torch.tensor(self._received, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(mine, reduce_op="max"))

    def progressed(self, saving: bool = False) -> None:
        """Record that a batch has ended, or that a checkpoint begins to be written.

        Args:
            saving: Whether a checkpoint is being written from now on.
        """
        now = time.monotonic()
        self._longest = max(self._longest, now - self._moved)
        self._moved, self._saving = now, saving

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = self._received or number

    def _observe(self, pipe: int) -> None:
        first, since = 0, 0.0
        while True:
            ready, _, _ = select.select([pipe], [], [], 0.5)
            received = os.read(pipe, 64) if ready else b""
            if ready and not received:
                os.close(pipe)
                return
            for number in (number for number in received if number in STOP_SIGNALS):
                if first and number == signal.SIGINT:
                    self._end(number, "received again")
                if not first:
                    first, since = number, time.monotonic()
            patience = SAVING if self._saving else max(GRACE, 3 * self._longest)
            if first and time.monotonic() - max(self._moved, since) > patience:
                self._end(first, f"no batch has ended for {patience:.0f} s")

    def _end(self, number: int, reason: str) -> None:
        """End the process, from a thread, while the main thread cannot react."""
        name = signal.Signals(number).name
        end_process(
            f"{name}: {reason}; ended without saving. Rerun the command to resume.", 128 + number, self._trainer
        )


def end_process(message: str, code: int, trainer: Trainer | None) -> None:
    """End this process at once, from any thread, with the processes that it has started.

    Args:
        message: Last words, on standard error.
        code: Exit code.
        trainer: The Trainer, whose launcher may have started other ranks; a suspended one would stay for ever.
    """
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
    for rank in getattr(trainer.strategy.launcher, "procs", ()) if trainer is not None else ():
        rank.kill()
    for child in active_children():  # workers of loaders
        child.kill()
    os._exit(code)


def _forget_pipe() -> None:
    """Keep signals that a forked process receives, as Ctrl-C reaches all of a terminal, from counting here again."""
    signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_forget_pipe)

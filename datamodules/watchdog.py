"""Watchdog over the workers of a loader: it names the shard on which they are stuck, in place of waiting forever."""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, get_worker_info

from datamodules.parallel import end_with_parent
from mav_lightning.common.retries import MachineError

__all__ = ["Watchdog"]

POLL = 1.0  # seconds between looks at the workers while a batch is awaited
_REAPS = 50
_WATCHDOGS: "weakref.WeakSet[Watchdog]" = weakref.WeakSet()
_PID, _BEATS, _PLACE, _BUSY = range(4)


class Watchdog:
    """Detects hanging loader workers: each records what it reads, and the wait for their batches has a time limit.

    A worker moves while it starts a sample or uses processor time. Time in which this process is suspended does not
    count.

    Args:
        workers: Number of worker processes. 0 watches nothing: this process reads by itself.
        timeout: Seconds without any movement of any worker after which the wait for a batch ends in an error.
        place: Returns a description of what is read, for the number that `beat` received.
    """

    def __init__(self, workers: int, timeout: float, place: Callable[[int], str]) -> None:
        self._notes = torch.zeros(workers, 4, dtype=torch.int64).share_memory_()
        self._timeout, self._place = timeout, place
        self._children: set[BaseProcess] = set()
        _WATCHDOGS.add(self)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the processes to the one that started them."""
        return {**self.__dict__, "_children": set()}

    def beat(self, number: int) -> None:
        """Note in a worker that it begins to read something."""
        if (worker := get_worker_info()) is not None:
            beats = int(self._notes[worker.id, _BEATS]) + 1
            self._notes[worker.id] = torch.tensor([os.getpid(), beats, number, 1])

    def rest(self) -> None:
        """Note in a worker that its batch is complete."""
        if (worker := get_worker_info()) is not None:
            self._notes[worker.id, _BUSY] = 0

    def options(self) -> dict[str, Any]:
        """Return the options of the loader to watch."""
        return {"num_workers": len(self._notes), "worker_init_fn": end_with_parent}

    def watch(self, loader: DataLoader[Any]) -> Iterator[Any]:
        """Yield the batches of a loader that was made with `options`.

        Raises:
            MachineError: The workers do not move any more, or one of them was killed.
        """
        before, wait = set(active_children()), _Wait()
        if len(self._notes):  # a thread, since receiving a batch from a suspended worker has no time limit
            threading.Thread(target=self._observe, args=(wait,), daemon=True).start()
        try:
            batches = self._answer(lambda: iter(loader), wait)  # workers of the last pass, if any, must answer
            self._children |= set(active_children()) - before
            while (batch := self._answer(lambda: next(batches, None), wait)) is not None:
                yield batch
        finally:
            wait.over.set()

    def _answer(self, ask: Callable[[], Any], wait: "_Wait") -> Any:
        """Return what the workers answer."""
        wait.on = True
        try:
            answer = ask()
            wait.on = False
            return answer
        except (RuntimeError, OSError, EOFError) as error:
            if wait.stuck:
                _reap()
                raise MachineError(wait.stuck) from error
            if _is_of_killed_worker(error):
                raise MachineError(f"a loader worker was killed ({error}){self._described()}.") from error
            raise

    def _observe(self, wait: "_Wait") -> None:
        """Kill the workers if none of them moves while a batch is awaited; runs in a thread of its own."""
        still, before = 0.0, None
        while not wait.over.wait(POLL):
            now = self._movement() if wait.on else None
            still = still + POLL if now is not None and now == before else 0.0
            before = now
            if still >= self._timeout:
                wait.stuck = (
                    f"no loader worker has moved for {still:g} s{self._described()}. Check that disk and network "
                    "respond, then run the command again to resume; if reading takes that long, raise data.timeout."
                )
                for child in _all_workers():
                    child.kill()  # also idle and suspended ones, for which this process would wait on its exit
                return

    def _movement(self) -> list[Any]:
        """Return what changes while a worker moves."""
        return [(note, _processor_time(note[_PID]) if note[_BUSY] else ()) for note in self._notes.tolist()]

    def _described(self) -> str:
        busy = [(number, note) for number, note in enumerate(self._notes.tolist()) if note[_BUSY]]
        told = [f"worker {number} was reading {self._place(note[_PLACE])}" for number, note in busy]
        return f": {'; '.join(told)}" if told else ""


def _is_of_killed_worker(error: Exception) -> bool:
    """Return whether an error shows that a worker is gone, rather than what was raised within one."""
    if "Caught " in str(error):  # PyTorch's words for an exception that a worker passed on
        return False
    # a worker can be killed between announcing a batch and handing over its memory
    return "DataLoader worker (pid" in str(error) or isinstance(error, ConnectionError | EOFError)


class _Wait:
    """What the waiting and the observing thread share: whether a batch is awaited, the verdict, and the end."""

    def __init__(self) -> None:
        self.on, self.stuck, self.over = False, "", threading.Event()


def _all_workers() -> set[BaseProcess]:
    """Return the workers of all loaders of this process that are watched."""
    return {child for watchdog in _WATCHDOGS for child in watchdog._children}


def _reap() -> None:
    """Wait for the killed workers; one that waits for a disk cannot end before the disk answers."""
    for _ in range(_REAPS):
        try:
            for worker in _all_workers():
                worker.join(0.1)
            if not any(worker.is_alive() for worker in _all_workers()):
                return
        except RuntimeError:  # torch's handler of the signal that a child has ended, at any line
            pass


def _processor_time(pid: int) -> tuple[str, ...]:
    """Return the processor time used by a process; empty where the system does not show it."""
    try:
        return tuple(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])
    except OSError:
        return ()

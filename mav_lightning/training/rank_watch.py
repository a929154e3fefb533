"""Watch over the processes of a distributed training: one that is lost ends the others, with its name."""

import os
import socket
import threading
import time
from datetime import timedelta
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, but not exported for type checkers

from mav_lightning.training.signals import end_process

__all__ = ["RankWatch"]

LOST = 120.0  # seconds without a sign of life
_BEAT = 1.0  # seconds between two signs of life
_ANSWER = timedelta(seconds=10)
_LONGEST = 30.0  # seconds that a look may take; after more, this process was suspended, perhaps with all others


class RankWatch(Callback):
    """Exchange signs of life with the other processes, in a thread, and end this one if another is lost.

    A process that is suspended, or whose machine has lost the network, stops all others in the next collective
    operation, for half an hour with gloo, without a word. Here they end after `LOST` seconds with exit code 2; the same
    command resumes from the last checkpoint. Time in which all are suspended, as by a scheduler, does not count. With
    one process nothing is done.
    """

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Connect the processes and begin to watch."""
        if trainer.world_size == 1:
            return
        with socket.socket() as free:
            free.bind(("", 0))
            port = trainer.strategy.broadcast(free.getsockname()[1])
        host, leads = os.environ.get("MASTER_ADDR", "127.0.0.1"), trainer.is_global_zero
        store = None
        for rank_zero in (True, False):  # the first process serves the others
            if rank_zero == leads:
                store = TCPStore(host, port, None, leads, _ANSWER, wait_for_workers=False)
            trainer.strategy.barrier()
        assert store is not None
        store.set(_key(trainer.global_rank), _sign(0))
        trainer.strategy.barrier()
        self._over.clear()
        self._thread = threading.Thread(target=self._watch, args=(store, trainer), daemon=True, name="rank watch")
        self._thread.start()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop watching the other ranks."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop watching the other ranks."""
        self._stop()

    def _stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(_ANSWER.total_seconds())
            self._thread = None

    def _watch(self, store: TCPStore, trainer: Trainer) -> None:
        others = [rank for rank in range(trainer.world_size) if rank != trainer.global_rank]
        signs: dict[int, str] = {}
        silence, before = dict.fromkeys(others, 0.0), time.monotonic()
        beats = 0
        while not self._over.wait(_BEAT):
            beats += 1
            try:
                store.set(_key(trainer.global_rank), _sign(beats))
                found = dict(zip(others, map(_text, store.multi_get([_key(rank) for rank in others])), strict=True))
            except Exception:  # the first process, which serves the signs, does not answer
                found = signs
            now = time.monotonic()
            passed, before = min(now - before, _LONGEST), now
            for rank in others:
                silence[rank] = 0.0 if signs.get(rank) != found.get(rank) else silence[rank] + passed
            signs = found
            lost = [rank for rank in others if silence[rank] > LOST]
            if lost and not self._over.is_set():
                end_process(_message(lost, signs), 2, trainer)


def _message(lost: list[int], signs: dict[int, str]) -> str:
    if 0 in lost:  # without it nothing is known of the others
        lost = [0]
    named = ", ".join(f"rank {rank} ({signs[rank].partition(' ')[2] if rank in signs else 'unknown'})" for rank in lost)
    return (
        f"error: {named} has not answered for {LOST:g} s: suspended, or its machine or network is down. Check it, and "
        "run the command again to resume from the last checkpoint."
    )


def _key(rank: int) -> str:
    return f"rank {rank}"


def _sign(beats: int) -> str:
    return f"{beats} process {os.getpid()} on {socket.gethostname()}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

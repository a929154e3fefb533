"""Loader workers that are stuck end the wait with the shard they were reading; busy ones do not."""

import os
import signal
import time
from itertools import chain
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch

from datamodules import watchdog
from datamodules.decoders import ClipDecoder
from datamodules.fps_sampler import UniformFps
from datamodules.index import load_index
from datamodules.order import EvalOrder
from datamodules.parallel import unchanged
from datamodules.reader import EvalLoader
from datamodules.sample_reader import SampleReader
from datamodules.watchdog import Watchdog, _is_of_killed_worker
from mav_lightning.common.retries import MachineError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "POLL", 0.1)


def loader(folder: Path, workers: int, timeout: float = 0.5) -> EvalLoader[object]:
    reader = SampleReader(load_index(folder), ClipDecoder(8, 5, UniformFps(4, 16)), seed=0)
    return EvalLoader(reader, EvalOrder(12, 1), workers, timeout)  # type: ignore[return-value]


def test_a_worker_that_hangs_on_a_shard_is_named_with_it(clip_folder: Path) -> None:
    stuck = loader(clip_folder, workers=1)
    (clip_folder / "00001.tar").unlink()
    os.mkfifo(clip_folder / "00001.tar")  # opening it waits for a writer, as on a network disk that does not answer

    with pytest.raises(
        MachineError, match=r"no loader worker has moved .*worker 0 was reading .*00001\.tar \(sample `1"
    ):
        list(stuck)
    assert not active_children()


def test_suspended_workers_are_noticed_even_if_they_were_idle(clip_folder: Path) -> None:
    batches = iter(loader(clip_folder, workers=2))
    next(batches)
    for child in active_children():
        os.kill(child.pid or 0, signal.SIGSTOP)

    with pytest.raises(MachineError, match="no loader worker has moved"):
        list(batches)
    assert not active_children()


def test_a_killed_worker_is_one_message(clip_folder: Path) -> None:
    batches = iter(loader(clip_folder, workers=1, timeout=30.0))
    next(batches)

    with pytest.raises(MachineError, match="a loader worker was killed"):
        for _ in chain(batches):
            os.kill(active_children()[0].pid or 0, signal.SIGKILL)


def test_a_worker_suspended_between_two_passes_is_one_message(clip_folder: Path) -> None:
    validation = loader(clip_folder, workers=2)
    list(validation)
    os.kill(active_children()[0].pid or 0, signal.SIGSTOP)

    with pytest.raises(MachineError, match="no loader worker has moved"):
        list(validation)
    assert not active_children()


@pytest.mark.parametrize(
    ("error", "killed"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), True),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), True),
        (ConnectionResetError(104, "Connection reset by peer"), True),  # between a batch and its memory
        (EOFError(), True),
        (RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback …"), False),
        (ConnectionResetError("Caught ConnectionResetError in DataLoader worker process 0.\n…"), False),
        (RuntimeError("stack expects each tensor to be equal size"), False),
    ],
)
def test_a_killed_worker_is_told_from_an_error_within_one(error: Exception, killed: bool) -> None:
    assert _is_of_killed_worker(error) == killed


class Slow(torch.utils.data.Dataset[int]):
    """Takes longer than the watchdog waits, by computing or by many small steps."""

    def __init__(self, seen: Watchdog, computes: bool) -> None:
        self.seen, self.computes = seen, computes

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> int:
        ends = time.monotonic() + 1.2
        self.seen.beat(number)
        while time.monotonic() < ends:
            if not self.computes:
                time.sleep(0.05)
                self.seen.beat(number)
        self.seen.rest()
        return number


@pytest.mark.parametrize("computes", [True, False])
def test_a_worker_that_computes_or_starts_samples_is_not_stuck(computes: bool) -> None:
    seen = Watchdog(1, 0.8, str)
    slow = torch.utils.data.DataLoader(Slow(seen, computes), batch_size=None, collate_fn=unchanged, **seen.options())

    assert list(seen.watch(slow)) == [0]

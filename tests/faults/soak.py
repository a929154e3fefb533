"""Trainings in one process, one after another, each through random faults to its end; what has grown?

    python tests/faults/soak.py --minutes 30

A training of `random_kills.py` is interrupted at a random instant after a checkpoint: by a stop signal, the loss of a
loader worker, a full disk, an input/output error or, in a forked process, ``kill -9`` or a lack of file handles (there,
as Python's multiprocessing loses a pipe if it cannot open a second one). Sometimes its newest checkpoint is then
damaged. The same call resumes it. A training that has ended is compared, bit by bit, with an undisturbed one. Memory,
open files and threads of the process, and what it has forked, are measured after each training, and must not grow. The
last line printed is JSON. Only root can mount the small disk that is filled.
"""

import argparse
import contextlib
import errno
import gc
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

from random_kills import compare, newest, train, write_data  # noqa: E402

from mav_lightning.common.errors import UserError  # noqa: E402
from mav_lightning.common.stop_signals import STOP_SIGNALS  # noqa: E402
from mav_lightning.training.checkpoint_io import checkpoints  # noqa: E402

FORK = multiprocessing.get_context("fork")
FSYNC = os.fsync
DISK = 24 << 20  # bytes of the small disk


class Soak:
    """Trainings, what happens to them, and what was wrong.

    Args:
        folder: Folder of everything. The trainings are in its folder ``disk``, which is filled if it is a mount point.
        steps: Optimizer steps of a training.
        seed: Seed of the faults.
    """

    def __init__(self, folder: Path, steps: int, seed: int) -> None:
        self.shards, self.reference, self.disk = folder / "shards", folder / "reference", folder / "disk"
        self.filler = self.disk / "filler"
        self.steps, self.draw = steps, random.Random(seed)
        self.faults, self.found = Counter[str](), list[str]()
        self.interruptions: dict[str, Callable[[], None]] = {
            **{number.name: partial(os.kill, os.getpid(), number) for number in STOP_SIGNALS},
            "loader worker killed": self._kill_a_worker,
            "input/output error": fail_to_flush,
            **({"disk full": partial(fill, self.filler)} if self.disk.is_mount() else {}),
        }
        for number in STOP_SIGNALS:  # ignored between two trainings
            signal.signal(number, lambda *_: None)
            os.register_at_fork(after_in_child=partial(signal.signal, number, signal.SIG_DFL))

    def training(self, number: int) -> None:
        """Train once to the end, through all its faults, and compare."""
        out = self.disk / f"run{number}"
        while not self._attempt(out):
            if len(found := checkpoints(out / "checkpoints")) > 1 and self.draw.random() < 0.3:
                self.faults[self._damage(found[0])] += 1
        with FORK.Pool(1) as other:  # TensorBoard's reader keeps memory
            self.found += [f"run{number}: {difference}" for difference in other.apply(compare, (out, self.reference))]
        self.found += [f"run{number} left {path.name}" for path in out.rglob("*.partial")]
        shutil.rmtree(out)

    def _attempt(self, out: Path) -> bool:
        """Train until the end or a fault; return whether it was the end."""
        fault = self.draw.choice([*FORKED, *self.interruptions])
        if fault in FORKED:
            process = FORK.Process(target=train_alone, args=(self.shards, out, self.steps))
            process.start()
            act, code = FORKED[fault]
            with self._in_an_instant(out, fault, partial(act, process.pid)):
                process.join()
            if process.exitcode not in (0, code):
                self.found.append(f"{fault}: exit code {process.exitcode}")
            return process.exitcode == 0
        try:
            with self._in_an_instant(out, fault, self.interruptions[fault]):
                train(self.shards, out, self.steps, 1)
        except SystemExit as end:
            if end.code != 128 + getattr(signal, fault, 0):
                self.found.append(f"{fault}: exit code {end.code}")
            return False
        except UserError as error:
            if hasattr(signal, fault):
                self.found.append(f"{fault}: {error}")
            return False
        finally:
            self._repair()
        return True

    @contextlib.contextmanager
    def _in_an_instant(self, out: Path, fault: str, act: Callable[[], None]) -> Iterator[None]:
        """Have a fault happen during the block, at a random instant after the next checkpoint."""
        over, pause, before = threading.Event(), self.draw.uniform(0, 0.3), newest(out)

        def wait_and_act() -> None:
            while newest(out) == before:
                if over.wait(0.005):
                    return
            if not over.wait(pause):
                self.faults[fault] += 1
                act()

        thread = threading.Thread(target=wait_and_act)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _kill_a_worker(self) -> None:
        workers = [pid for pid in children() if command_line(pid) == command_line(os.getpid())]
        if workers:
            os.kill(self.draw.choice(workers), signal.SIGKILL)

    def _repair(self) -> None:
        self.filler.unlink(missing_ok=True)
        os.fsync = FSYNC

    def _damage(self, checkpoint: Path) -> str:
        """Damage a file in a random way, and return the way."""
        content = bytearray(checkpoint.read_bytes())
        content[self.draw.randrange(len(content))] ^= 1 << self.draw.randrange(8)
        ways = {
            "checkpoint: a bit flipped": lambda: checkpoint.write_bytes(content),
            "checkpoint cut": lambda: os.truncate(checkpoint, self.draw.randrange(len(content))),
            "checkpoint without checksum": lambda: checkpoint.with_name(f"{checkpoint.name}.sha256").unlink(),
            "checkpoint lost": checkpoint.unlink,
        }
        way = self.draw.choice(list(ways))
        ways[way]()
        return way


def train_alone(root: Path, out: Path, steps: int) -> None:
    """Train in this process, which then ends as the command would."""
    try:
        train(root, out, steps, 1)
    except UserError:
        sys.exit(2)


def fail_to_flush() -> None:
    """Let no file reach the disk any more."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    os.fsync = fail


def let_open_nothing(pid: int) -> None:
    """Forbid a process to open files from now on."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 1024))


FORKED: dict[str, tuple[Callable[[int], None], int]] = {  # acts, and exit codes after them
    "kill -9": (lambda pid: os.kill(pid, signal.SIGKILL), -signal.SIGKILL),
    "no file handle left": (let_open_nothing, 2),
}


def fill(file: Path) -> None:
    """Write a file until its disk is full."""
    with contextlib.suppress(OSError), file.open("wb") as filler:
        while True:
            filler.write(bytes(1 << 14))


def children() -> list[int]:
    return [int(word) for task in Path("/proc/self/task").glob("*/children") for word in task.read_text().split()]


def command_line(pid: int) -> bytes:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def held() -> dict[str, int]:
    """Return what this process holds: memory in MiB, open files, threads, and processes that it has forked."""
    gc.collect()
    mine, running = command_line(os.getpid()), [int(name) for name in os.listdir("/proc") if name.isdigit()]
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "MiB": pages * os.sysconf("SC_PAGE_SIZE") >> 20,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "forked": sum(command_line(pid) == mine for pid in running) - 1,
    }


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Create a folder that is a small file system, if this process may mount one."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)], check=False)
    try:
        yield
    finally:
        if folder.is_mount():
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name, "disk")):
        soak, history = Soak(Path(name), options.steps, options.seed), list[dict[str, int]]()
        write_data(soak.shards)
        train(soak.shards, soak.reference, options.steps, 1)
        began = time.monotonic()
        while time.monotonic() - began < 60 * options.minutes:
            soak.training(len(history))
            history.append(held())
            print(dict(soak.faults), history[-1], soak.found, file=sys.stderr, flush=True)
    part = max(len(history) // 4, 1)  # the first trainings also fill caches
    first, last = (
        {key: statistics.median(one[key] for one in some) for key in history[0]}
        for some in (history[part : 2 * part], history[-part:])
    )
    grown = [f"{key}: {first[key]} → {last[key]}" for key in first if last[key] > first[key] * 1.02]
    counts = {"minutes": round((time.monotonic() - began) / 60, 1), "trainings": len(history), "faults": soak.faults}
    print(json.dumps({**counts, "second quarter": first, "last quarter": last, "wrong": soak.found + grown}))
    sys.exit(bool(soak.found + grown))


if __name__ == "__main__":
    main()

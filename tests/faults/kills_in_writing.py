"""``kill -9`` at random instants while checkpoints are written, again and again, and a check of what is left.

A process writes checkpoints without a pause, by the thread of a training, and keeps two. It is killed at a
random instant of a write. Each time, at least one checkpoint must verify, and hold the bits of its step; from
the second checkpoint on, the one before the newest must, too. Prints one JSON line.

    python tests/faults/kills_in_writing.py --kills 100 --folder /dev/shm
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

import torch  # noqa: E402

from mav_lightning.training.checkpoint_io import (  # noqa: E402
    AtomicCheckpointIO,
    checkpoint_path,
    checkpoint_step,
    checkpoints,
    is_intact,
    remove_leftovers,
)
from mav_lightning.training.checkpoint_writer import CheckpointWriter  # noqa: E402

SIZE = 1 << 17  # weights
KEEP = 2
OUTSIDE = "between two checkpoints"


def weights(step: int) -> torch.Tensor:
    return torch.arange(SIZE, dtype=torch.float32) + step


def write_on(folder: Path) -> None:
    """Write checkpoints after the newest one until killed; the state changes as soon as it is copied."""
    torch.set_num_threads(1)
    writer, io = CheckpointWriter(), AtomicCheckpointIO()
    state: dict[str, Any] = {"state_dict": {"w": weights(0)}, "step": newest_step(folder)}
    while True:
        state["step"] += 1
        state["state_dict"]["w"].copy_(weights(state["step"]))

        def begin(checkpoint: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> None:
            def job(checkpoint: dict[str, Any]) -> None:
                write(checkpoint)
                for old in checkpoints(folder)[KEEP:]:
                    io.remove_checkpoint(old)

            writer.submit(checkpoint, job)

        io.save_checkpoint(state, checkpoint_path(folder, state["step"]), storage_options=begin)
        state["state_dict"]["w"].fill_(-1.0)


def newest_step(folder: Path) -> int:
    found = checkpoints(folder)
    return checkpoint_step(found[0]) if found else 0


def kill_in_a_write(folder: Path, draw: random.Random) -> str:
    """Start the process, kill it in a write, and return how far the write was."""
    pid = os.fork()
    if not pid:
        try:
            write_on(folder)
        finally:
            os._exit(1)
    began, last = newest_step(folder), time.monotonic()
    whole = 0.0  # seconds of the last write
    goal = began + draw.randint(1, 2)
    while newest_step(folder) < goal:
        before = newest_step(folder)
        while newest_step(folder) == before:
            assert time.monotonic() - last < 120, "no checkpoint in 120 s"
            time.sleep(0.0005)
        whole, last = time.monotonic() - last, time.monotonic()
    time.sleep(draw.uniform(0, whole))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if {path.name for path in folder.glob("step-*.sha256")} > {f"{path.name}.sha256" for path in checkpoints(folder)}:
        return "between a checksum and its checkpoint"
    return "in a file" if list(folder.glob(".step-*.partial")) else OUTSIDE


def faults(folder: Path) -> list[str]:
    """Return what is wrong with the checkpoints that a killed process has left."""
    found = checkpoints(folder)
    wrong = [f"{path.name} does not verify" for path in found if not is_intact(path)]
    for path in found:
        state = AtomicCheckpointIO().load_checkpoint(path)
        if state["step"] != checkpoint_step(path) or not torch.equal(state["state_dict"]["w"], weights(state["step"])):
            wrong.append(f"{path.name} holds another state")
    if len(found) < min(KEEP, newest_step(folder)):
        wrong.append(f"{len(found)} checkpoints are left")
    remove_leftovers(folder)
    if len(left := sorted(path.name for path in folder.iterdir())) != 2 * len(found):
        wrong.append(f"left over: {left}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=100, help="in a write; those between two come on top")
    parser.add_argument("--folder", help="on the file system to test; default: the system's temporary folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw, moments, found = random.Random(options.seed), Counter[str](), list[str]()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        while sum(moments.values()) - moments[OUTSIDE] < options.kills:
            moments[kill_in_a_write(Path(folder), draw)] += 1
            found += [f"kill {sum(moments.values())}: {fault}" for fault in faults(Path(folder))]
        steps = newest_step(Path(folder))
    print(json.dumps({"moments": moments, "steps": steps, "faults": found}))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

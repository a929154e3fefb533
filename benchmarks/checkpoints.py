"""How long a checkpoint holds up training: written at once, and by a thread; and what memory the thread takes.

Trains a network of linear layers with AdamW and an average, and saves it after every third step, in turn at once and by
a thread. A write that is not done before the next checkpoint would hold that one up, so each is waited for first, with
the time apart. Processor seconds are those of the thread that trains. Prints one JSON line.

    python benchmarks/checkpoints.py --layers 24
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn

from mav_lightning.training import fit as training
from mav_lightning.training.checkpoint_io import checkpoints
from mav_lightning.training.checkpointer import Checkpointer

WIDTH = 1024
EVERY = 3
MIB = 1 << 20


class Layers(LightningModule):
    """Linear layers, the same as each other."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.net = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(layers)))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the loss."""
        loss: Tensor = (self.net(batch) - batch).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=1e-4)


class Noise(LightningDataModule):
    """Random vectors."""

    def train_dataloader(self) -> Any:
        """Return batches of 16 vectors."""
        return torch.utils.data.DataLoader(torch.randn(4096, WIDTH), batch_size=16)


class Timed(Checkpointer):
    """Saves in turn at once and by a thread, and measures for how long training is held up."""

    held: dict[str, list[float]]
    processor: dict[str, list[float]]
    rss: dict[str, list[int]]

    def _save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._writer.wait()
        self._writer.background = not self._writer.background
        name = "thread" if self._writer.background else "at once"
        began, used = time.perf_counter(), time.thread_time()
        super()._save(trainer, pl_module)
        self.held.setdefault(name, []).append(time.perf_counter() - began)
        self.processor.setdefault(name, []).append(time.thread_time() - used)
        if self._writer.background:
            self._writer.wait()
            self.held.setdefault("thread, until written", []).append(time.perf_counter() - began)
        self.rss.setdefault(name, []).append(psutil.Process().memory_info().rss // MIB)


def main() -> None:
    """Train, and print what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--layers", type=int, default=24, help="layers of 1.05 million weights each")
    parser.add_argument("--times", type=int, default=6, help="checkpoints of each kind")
    parser.add_argument("--folder", help="where checkpoints are written; default: the system's temporary folder")
    options = parser.parse_args()
    Timed.held, Timed.processor, Timed.rss = {}, {}, {}
    training.Checkpointer = Timed  # type: ignore[attr-defined,misc]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        steps = 2 * EVERY * options.times
        trainer = {"accelerator": "cpu", "enable_progress_bar": False}
        settings: Any = {"steps": steps, "checkpoint_every": EVERY, "logger": False, "trainer": trainer}
        training.fit(Layers(options.layers), Noise(), out=folder, **settings)
        size = checkpoints(Path(folder, "checkpoints"))[0].stat().st_size
    held = {name: statistics.median(seconds) for name, seconds in Timed.held.items()}
    print(json.dumps({
        "file_MiB": size // MIB,
        "threads": torch.get_num_threads(),
        "median_seconds": held,
        "median_processor_seconds": {name: statistics.median(seconds) for name, seconds in Timed.processor.items()},
        "first_by_thread": Timed.held["thread"][0],
        "held_up": held["thread"] / held["at once"],
        "each": Timed.held,
        "rss_MiB": Timed.rss,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
